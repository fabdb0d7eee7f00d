"""mien serve and mien camera: the HTTP service and its web page."""

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import DetectorName, Device, MinScore, Model, Verbose, print_log
from mien.detection import DEFAULT_DETECTOR


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all networks.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="MIEN_TOKEN",
            help="Token that callers must send; other users see it in the list of processes, unless it comes from the "
            "environment variable or from --token-file.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with further tokens, one per line; # begins a comment.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin of a site whose pages may call, such as https://app.example; repeatable."),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Allow calls from other machines without a token.")
    ] = False,
    model: Model = "small",
    detector: DetectorName = DEFAULT_DETECTOR,
    min_score: MinScore = None,
    device: Device = None,
    verbose: Verbose = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that recognise pictures; one per core by default.")
    ] = None,
    worker_pictures: Annotated[
        int, typer.Option(min=1, help="Number of pictures after which a worker process is replaced.")
    ] = 10_000,
    worker_memory: Annotated[
        int, typer.Option(min=256, help="Maximum memory of a worker process, in MiB; Linux only.")
    ] = 1024,
    batch: Annotated[int, typer.Option(min=1, help="Maximum number of pictures that a worker takes at once.")] = 4,
    wait_ms: Annotated[float, typer.Option(min=0, help="Maximum wait for a full batch, in milliseconds.")] = 2,
    max_bytes: Annotated[int, typer.Option(min=1, help="Maximum size of a request, in bytes.")] = 32 * 2**20,
    max_pixels: Annotated[int, typer.Option(min=1, help="Maximum number of pixels in a picture.")] = 25_000_000,
    max_pictures: Annotated[int, typer.Option(min=1, help="Maximum number of pictures in a request.")] = 16,
    queue: Annotated[
        int, typer.Option(min=1, help="Maximum number of waiting pictures; further requests get status 503.")
    ] = 64,
    timeout: Annotated[float, typer.Option(help="Maximum duration of a request, in seconds; above 0.")] = 30,
    max_frame_bytes: Annotated[int, typer.Option(min=1, help="Maximum size of a WebSocket frame, in bytes.")] = 8
    * 2**20,
    max_held_bytes: Annotated[
        int, typer.Option(min=1, help="Maximum size of all unanswered requests together, in bytes.")
    ] = 256 * 2**20,
    max_connections: Annotated[int, typer.Option(min=1, help="Maximum number of open connections.")] = 512,
    max_caller_connections: Annotated[
        int, typer.Option(min=1, help="Maximum number of open connections from one address.")
    ] = 128,
    header_timeout: Annotated[
        float, typer.Option(help="Maximum time for the headers of a request, in seconds; above 0.")
    ] = 10,
    idle_timeout: Annotated[
        float, typer.Option(help="Maximum time between two frames of a WebSocket, in seconds; above 0.")
    ] = 60,
) -> None:
    """Start a web page and an HTTP service that recognises pictures for other programs.

    In the European Union, people must be told before this is used on them.
    It is forbidden at work and in education, except for medical or safety reasons.
    """
    from mien import service
    from mien.cores import usable_cores
    from mien.service.settings import read_tokens

    if verbose:
        print_log()
    settings = service.Settings(
        model=model,
        detector=detector,
        min_score=min_score,
        device=device,
        host=host,
        port=port,
        token=token,
        more_tokens=read_tokens(token_file) if token_file else (),
        allowed_origins=tuple(allow_origin or ()),
        open_to_all=no_token,
        workers=workers or usable_cores(),
        worker_pictures=worker_pictures,
        worker_bytes=worker_memory * 2**20,
        batch=batch,
        wait_ms=wait_ms,
        limits=service.Limits(
            request_bytes=max_bytes,
            pixels=max_pixels,
            pictures=max_pictures,
            queue=queue,
            seconds=timeout,
            frame_bytes=max_frame_bytes,
            held_bytes=max_held_bytes,
            connections=max_connections,
            caller_connections=max_caller_connections,
            header_seconds=header_timeout,
            idle_seconds=idle_timeout,
        ),
    )
    service.serve(settings, lambda url: typer.echo(f"serving {url}, API at {url}/docs; press Ctrl-C to stop"))


def camera(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 0,
    model: Model = "small",
) -> None:
    """Open the web page with the camera on; no picture leaves this machine.

    In the European Union, people in front of it must be told before.
    It is forbidden at work and in education, except for medical or safety reasons.
    """
    import threading
    import webbrowser

    from mien import service

    def open_page(url: str) -> None:
        page = f"{url}/#camera"
        typer.echo(f"the page is at {page}; press Ctrl-C to stop")
        # Some browsers block until they are closed, but the service must answer their requests meanwhile.
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()

    service.serve(service.Settings(model=model, port=port), open_page)
