"""What the tests of the page need: pictures, a film, models, hosts with and without a service, and a real Chromium."""

import contextlib
import functools
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest
import skimage.data
from PIL import Image, ImageEnhance, ImageOps
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from mien.export import page as page_folder
from mien.service.app import Settings, create_app
from tests.hosting import Host, run
from tests.waiting import LONG_S

FRAMES_A_SECOND = 10
STEP_PX = 4
"""How far the astronaut moves from frame to frame."""

expect.set_options(timeout=LONG_S * 1000)


def frame(number: int) -> Image.Image:
    """A frame of a film in which the astronaut moves to the right."""
    picture = Image.new("RGB", (640, 480), "gray")
    picture.paste(Image.fromarray(skimage.data.astronaut()[:480, :480]), (STEP_PX * number, 0))
    return picture


# What the person has.


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The astronaut as PNG, as JPEG and lying on her side but for her EXIF, and several faces in one picture."""
    folder = tmp_path_factory.mktemp("pictures")
    astronaut = Image.fromarray(skimage.data.astronaut())
    astronaut.save(folder / "lossless.png")
    astronaut.save(folder / "lossy.jpg", quality=85)
    exif = Image.Exif()
    exif[0x0112] = 6  # it is to be turned by 90 degrees to the right
    astronaut.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", quality=95, exif=exif)
    group = Image.new("RGB", (1600, 1000), "lightgray")
    group.paste(astronaut.resize((900, 900)), (20, 60))
    group.paste(ImageEnhance.Brightness(ImageOps.mirror(astronaut)).enhance(0.6), (1000, 40))
    group.paste(astronaut.rotate(12).resize((240, 240)), (1000, 640))
    group.paste(ImageOps.grayscale(astronaut).resize((150, 150)), (1350, 700))
    group.save(folder / "group, of four.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the moving astronaut as WebM."""
    path = tmp_path_factory.mktemp("film") / "astronaut.webm"
    with av.open(path, "w") as container:
        stream = container.add_stream("libvpx", rate=FRAMES_A_SECOND, width=640, height=480, pix_fmt="yuv420p")
        stream.bit_rate = 4_000_000
        stream.options = {"deadline": "realtime", "cpu-used": "8"}
        for number in range(2 * FRAMES_A_SECOND):
            container.mux(stream.encode(av.VideoFrame.from_image(frame(number))))
        container.mux(stream.encode())
    return path


# Where the page is.


@contextlib.contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """The address of a folder, given out by the plainest of servers."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, masked: Path, maskless: Path) -> Iterator[str]:
    """The static page in a sub-folder of a host that sends no isolation headers; with three models."""
    root = tmp_path_factory.mktemp("host")
    page_folder.write(root / "some" / "where", page_folder.find_models(["small", str(masked), str(maskless)]))
    with hosted(root) as url:
        yield f"{url}some/where/"


def serve(token: str | None = None, port: int = 0) -> Host:
    """The page with a service behind it."""
    return run(create_app(Settings(workers=1, token=token)), port)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of the page with a service behind it."""
    host = serve()
    yield host.url
    host.stop()


# Who looks at it.


@pytest.fixture(scope="module")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium with a camera that each page must be permitted to use: the astronaut moves to and fro.

    She never moves so far that her face would not overlap enough to be the same, however few frames are taken.
    """
    camera = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with camera.open("wb") as stream:
        for number in [*range(10), *range(10, 0, -1)]:
            frame(number).save(stream, "JPEG", quality=92)
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=arguments)


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A person who permits the camera; one for all, so that the WebAssembly is fetched once."""
    with browser.new_context(permissions=["camera"], viewport={"width": 1100, "height": 900}) as context:
        yield context


@contextlib.contextmanager
def tab(context: BrowserContext) -> Iterator[Page]:
    """A tab that asks nobody but the page's own host for anything, and in which nothing is thrown."""
    page = context.new_page()
    asked, thrown = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws://", "http://")))
    page.on("pageerror", lambda error: thrown.append(str(error)))
    page.set_default_timeout(LONG_S * 1000)
    yield page
    home = re.match("https?://[^/]+/", page.url)
    page.close()
    assert home
    assert [url for url in asked if not url.removeprefix("blob:").startswith(home[0])] == []
    assert thrown == []


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A new tab."""
    with tab(context) as page:
        yield page


@pytest.fixture(scope="module")
def visited(context: BrowserContext, site: str) -> Iterator[Page]:
    """A tab with the static page, ready; what is chosen next takes the place of what was chosen before."""
    with tab(context) as page:
        yield opened(page, site)


def opened(page: Page, url: str) -> Page:
    """The page when it is ready."""
    page.goto(url)
    expect(page.locator("#said")).to_have_text("Ready.")
    return page
