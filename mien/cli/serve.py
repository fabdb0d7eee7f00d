"""mien serve and mien camera: the HTTP service and its page."""

from __future__ import annotations

from typing import Annotated

import typer

from mien.cli.options import DetectorName, Model

_SERVING = ("fastapi", "fastapi_offline", "uvicorn", "websockets", "python_multipart", "prometheus_client")


def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="MIEN_TOKEN", help="What callers must know; better given in the environment.")
    ] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Let other machines call it without a token.")] = False,
    model: Model = "small",
    detector: DetectorName = "blazeface",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that recognise; one a core when left out.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Most pictures that a worker takes at once.")] = 4,
    wait_ms: Annotated[float, typer.Option(min=0, help="Longest wait for more pictures, milliseconds.")] = 2,
    max_bytes: Annotated[int, typer.Option(min=1, help="Most bytes of a request or a frame.")] = 32 * 2**20,
    max_pixels: Annotated[int, typer.Option(min=1, help="Most pixels of a picture.")] = 25_000_000,
    max_pictures: Annotated[int, typer.Option(min=1, help="Most pictures of a request.")] = 16,
    queue: Annotated[int, typer.Option(min=1, help="Most pictures that wait; more are answered with 503.")] = 64,
    timeout: Annotated[float, typer.Option(help="Most seconds of a request, above 0.")] = 30,
) -> None:
    """Recognise pictures for other programs, over HTTP."""
    from mien.cores import usable_cores
    from mien.errors import require

    for module in _SERVING:
        require(module, "serve")
    from mien.service import app as serving
    from mien.service.batching import Limits

    limits = Limits(max_bytes, max_pixels, max_pictures, queue, timeout)
    settings = serving.Settings(
        model=model,
        detector=detector,
        host=host,
        port=port,
        token=token,
        open_to_all=no_token,
        workers=workers or usable_cores(),
        batch=batch,
        wait_ms=wait_ms,
        limits=limits,
    )
    serving.serve(settings, lambda url: typer.echo(f"mien serves {url}, described at {url}/docs; Ctrl-C ends it"))


def camera(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes a free one.")] = 0,
    model: Model = "small",
) -> None:
    """Open the page with the camera on; what it sees stays on this machine."""
    from mien.errors import require

    for module in _SERVING:
        require(module, "serve")
    import threading
    import webbrowser

    from mien.service import app as serving

    def opened(url: str) -> None:
        page = f"{url}/#camera"
        typer.echo(f"the camera's page is {page}; Ctrl-C ends it")
        # Beside the service, for some browsers are waited for until they are closed, and need its answers meanwhile.
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()

    serving.serve(serving.Settings(model=model, port=port), opened)
