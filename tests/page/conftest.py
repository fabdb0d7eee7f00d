"""What the tests of the page need: pictures, a video, models, hosts with and without a service, and a real Chromium."""

import base64
import contextlib
import csv
import functools
import io
import re
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from mien.export import page as page_folder
from mien.service import Settings, create_app
from tests.hosting import Host, run
from tests.waiting import LONG_S, until

Rows = list[dict[str, str]]
ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
FRAME_RATE = 10
STEP_PX = 4
"""How far the astronaut moves from frame to frame."""

expect.set_options(timeout=LONG_S * 1000)


def video_frame(number: int) -> Image.Image:
    """A frame of a video in which the astronaut moves to the right."""
    frame = Image.new("RGB", (640, 480), "gray")
    frame.paste(Image.fromarray(skimage.data.astronaut()[:480, :480]), (STEP_PX * number, 0))
    return frame


# Pictures and videos.


@pytest.fixture(scope="session")
def picture_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four faces in one picture, and the astronaut as PNG, as JPEG, tilted, and as a JPEG with an EXIF orientation."""
    folder = tmp_path_factory.mktemp("pictures")
    astronaut = Image.fromarray(skimage.data.astronaut())
    astronaut.save(folder / "lossless.png")
    astronaut.save(folder / "lossy.jpg", quality=85)
    astronaut.rotate(40, Image.Resampling.BICUBIC, expand=True).save(folder / "tilted.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    astronaut.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", quality=95, exif=exif)
    group = Image.new("RGB", (1600, 1000), "lightgray")
    group.paste(astronaut.resize((900, 900)), (20, 60))
    group.paste(ImageEnhance.Brightness(ImageOps.mirror(astronaut)).enhance(0.6), (1000, 40))
    group.paste(astronaut.rotate(12).resize((240, 240)), (1000, 640))
    group.paste(ImageOps.grayscale(astronaut).resize((150, 150)), (1350, 700))
    group.save(folder / "group, of four.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def video_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the moving astronaut as WebM."""
    path = tmp_path_factory.mktemp("video") / "astronaut.webm"
    with av.open(path, "w") as container:
        stream = container.add_stream("libvpx", rate=FRAME_RATE, width=640, height=480, pix_fmt="yuv420p")
        stream.bit_rate = 4_000_000
        stream.options = {"deadline": "realtime", "cpu-used": "8"}
        for number in range(2 * FRAME_RATE):
            container.mux(stream.encode(av.VideoFrame.from_image(video_frame(number))))
        container.mux(stream.encode())
    return path


# Hosts.


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@contextlib.contextmanager
def hosted(folder: Path, handler: type[SimpleHTTPRequestHandler] = QuietHandler) -> Iterator[str]:
    """Serves a folder with a plain file server and yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, masked: Path, maskless: Path) -> Iterator[str]:
    """The static page with three models, in a subfolder of a host that sends no isolation headers."""
    root = tmp_path_factory.mktemp("host")
    page_folder.write(root / "some" / "where", page_folder.find_models(["small", str(masked), str(maskless)]))
    with hosted(root) as url:
        yield f"{url}some/where/"


def serve(token: str | None = None, port: int = 0) -> Host:
    """Serves the page with a service."""
    return run(create_app(Settings(workers=1, token=token)), port)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of the page with a service."""
    host = serve()
    yield host.url
    host.stop()


# The browser. The tests of a module share one, because it loads slowly.


@pytest.fixture(scope="module")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium with a camera, which needs permission, that shows the astronaut moving to and fro.

    She moves so little that her face always overlaps with the previous frame's, even at a low frame rate.
    """
    camera = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with camera.open("wb") as stream:
        for number in [*range(10), *range(10, 0, -1)]:
            video_frame(number).save(stream, "JPEG", quality=92)
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=arguments)


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile with permission for the camera. Its cache holds the WebAssembly file after the first test."""
    with browser.new_context(permissions=["camera"], viewport={"width": 1100, "height": 900}) as context:
        yield context


HELPERS = """
window.toBytes = (content) => Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
window.importModule = (name) => import(new URL(name, document.querySelector("script[type=module]").src));
"""
"""For the scripts of tests: decodes what `to_base64` gives, and imports a module of the page."""


@contextlib.contextmanager
def new_tab(context: BrowserContext) -> Iterator[Page]:
    """A tab. At its end, it checks that all requests went to the page's own host and that no script failed."""
    page = context.new_page()
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("websocket", lambda socket: requests.append(socket.url.replace("ws://", "http://")))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(LONG_S * 1000)
    page.add_init_script(HELPERS)
    yield page
    host = re.match("https?://[^/]+/", page.url)
    page.close()
    assert host
    assert [url for url in requests if not url.removeprefix("blob:").startswith(host[0])] == []
    assert errors == []


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A new tab."""
    with new_tab(context) as page:
        yield page


@pytest.fixture(scope="module")
def site_page(context: BrowserContext, site: str) -> Iterator[Page]:
    """A tab with the static page, shared by tests that only open one source after another."""
    with new_tab(context) as page:
        yield open_page(page, site)


def open_page(page: Page, url: str) -> Page:
    """Opens the page and waits until it is ready."""
    page.goto(url)
    expect(page.locator("#message")).to_have_text("Ready.")
    return page


# What a user does and sees.


def choose_pictures(page: Page, files: list[Path]) -> None:
    page.set_input_files("#picture-files", files)


def drop_file(page: Page, path: Path, media_type: str) -> None:
    """Drops a file onto the page."""
    transfer = page.evaluate_handle(
        """([name, type, content]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([toBytes(content)], name, { type }));
            return transfer;
        }""",
        [path.name, media_type, to_base64(path)],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def to_base64(path: Path) -> str:
    """The content of a file for a script of the page."""
    return base64.b64encode(path.read_bytes()).decode()


def download_rows(page: Page) -> Rows:
    """The rows of the downloaded CSV."""
    with page.expect_download() as download:
        page.click("#csv")
    return list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))


def download_rows_when(condition: Callable[[Rows], bool], page: Page, what: str) -> Rows:
    """Downloads the rows until they meet a condition, slowly, because a browser delays frequent downloads."""

    def download() -> Rows:
        page.wait_for_timeout(500)
        rows = download_rows(page)
        return rows if condition(rows) else []

    return until(download, what, 3 * LONG_S)


def time_s(row: dict[str, str]) -> float:
    """The time of a frame."""
    return float(row["time_s"])


def read_notice(page: Page) -> str:
    """Waits for the error sentence and returns it."""
    expect(page.locator("#notice")).to_be_visible()
    return page.inner_text("#notice span")


def read_canvas(page: Page, selector: str) -> NDArray[np.uint8]:
    """The pixels of a canvas, (H, W, 3)."""
    url = page.locator(selector).evaluate("canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
