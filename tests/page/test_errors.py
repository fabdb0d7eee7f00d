"""Bad pictures, videos and models."""

import re
import threading
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from mien.export import page as page_folder
from tests.page.conftest import ASTRONAUT, choose_pictures, download_rows, drop_file, hosted, open_page, read_notice
from tests.waiting import LONG_S, until


def test_bad_pictures_give_a_sentence_and_the_others_are_recognised(site_page: Page, tmp_path: Path) -> None:
    bad = [tmp_path / name for name in ("noise.png", "empty.jpg", "cut.png")]
    bad[0].write_bytes(b"not a picture")
    bad[1].touch()
    bad[2].write_bytes(ASTRONAUT.read_bytes()[:100])
    for path in bad:
        choose_pictures(site_page, [path])
        expect(site_page.locator("#notice")).to_contain_text(path.name)
        assert re.fullmatch(r"[^.]+\.\w+ (cannot be read as a picture: .+|is empty; .+)\.", read_notice(site_page))
        expect(site_page.locator("#empty")).to_be_visible()
    choose_pictures(site_page, [bad[0], ASTRONAUT])
    expect(site_page.locator("#strip .done")).to_have_count(1)
    assert [row["path"] for row in download_rows(site_page)] == [ASTRONAUT.name]
    site_page.get_by_text(ASTRONAUT.name).click()
    expect(site_page.locator("#message")).to_contain_text("Happy")


def test_picture_without_a_face_gives_a_message(site_page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "gray").save(tmp_path / "faceless.png")
    choose_pictures(site_page, [tmp_path / "faceless.png"])
    expect(site_page.locator("#message")).to_have_text("No face was found.")
    expect(site_page.locator("#announcement")).to_have_text("No face was found.")
    expect(site_page.locator("#csv")).to_be_disabled()


def test_bad_video_gives_a_sentence(site_page: Page, tmp_path: Path) -> None:
    path = tmp_path / "noise.webm"
    path.write_bytes(b"not a video")
    site_page.set_input_files("#video-file", path)
    expect(site_page.locator("#notice")).to_contain_text("noise.webm cannot be played: ")


def test_error_of_a_video_that_stops_playing_stays_visible(site_page: Page, video_file: Path) -> None:
    drop_file(site_page, video_file, "video/webm")
    expect(site_page.locator("#message")).to_contain_text("Happy")
    site_page.evaluate("() => document.querySelector('#source').dispatchEvent(new Event('error'))")
    site_page.wait_for_timeout(1000)  # until the last frame has its answer
    assert "stopped playing because it is damaged." in read_notice(site_page)
    expect(site_page.locator("#transport")).to_be_hidden()


def test_missing_model_gives_a_sentence(page: Page, tmp_path: Path) -> None:
    page_folder.write(tmp_path, page_folder.find_models(["small"]))
    (tmp_path / "models" / "small.onnx").unlink()
    with hosted(tmp_path) as url:
        with page.expect_worker():
            page.goto(url)
        assert read_notice(page) == "The model small.onnx is missing on the host (status 404); put it there."
        until(lambda: page.evaluate("true") and not page.workers, "the worker to end")


def test_video_that_never_starts_gives_a_sentence(page: Page, site: str, video_file: Path) -> None:
    """As in a browser that waits for a decoder without an event."""
    open_page(page, site)
    page.evaluate("() => Object.defineProperty(document.querySelector('#source'), 'src', { set() {}, get: () => '' })")
    drop_file(page, video_file, "video/webm")
    expect(page.locator("#message")).to_have_text("Opening the video…")
    assert "astronaut.webm does not start to play: this browser probably has no decoder" in read_notice(page)
    expect(page.locator("#transport")).to_be_hidden()
    expect(page.locator("#message")).to_have_text("")


def test_camera_without_a_frame_gives_a_sentence_and_can_be_tried_again(page: Page, site: str) -> None:
    page.add_init_script(
        """
        const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        const dark = document.createElement("canvas").captureStream(0);
        navigator.mediaDevices.getUserMedia = async (constraints) => window.isDark ? dark : real(constraints);
        window.isDark = true;
        """
    )
    open_page(page, site).get_by_role("button", name="Camera").click()
    assert read_notice(page).startswith("The camera gives no picture: ")
    expect(page.locator("#camera")).to_have_text("Camera")
    page.evaluate("() => (window.isDark = false)")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#message")).to_contain_text("Happy")
    expect(page.locator("#notice")).to_be_hidden()


@pytest.mark.slow
def test_model_that_does_not_arrive_gives_a_sentence_and_can_be_tried_again(page: Page, tmp_path: Path) -> None:
    page_folder.write(tmp_path, page_folder.find_models(["small"]))
    content = (tmp_path / "models" / "small.onnx").read_bytes()
    stopped = threading.Event()

    class Stalling(SimpleHTTPRequestHandler):
        """Sends half of the model until the test goes on."""

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

        def do_GET(self) -> None:
            if "small.onnx" not in self.path or stopped.is_set():
                super().do_GET()
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                stopped.wait(LONG_S)

    with hosted(tmp_path, Stalling) as url:
        page.goto(url)
        expect(page.locator("#loading")).to_be_visible()
        expect(page.locator("#notice")).to_contain_text("The model small.onnx does not arrive: nothing came for 20 s;")
        expect(page.locator("#loading")).to_be_hidden()
        stopped.set()
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#message")).to_have_text("Ready.")
        expect(page.locator("#notice")).to_be_hidden()


@pytest.mark.slow
def test_worker_that_ends_gives_a_sentence_and_can_be_tried_again(page: Page, site: str) -> None:
    open_page(page, site).get_by_role("button", name="Camera").click()
    expect(page.locator("#message")).to_contain_text("Happy")
    next(worker for worker in page.workers if worker.url.endswith("/worker.js")).evaluate("() => self.close()")
    assert read_notice(page) == "The browser has stopped the recognition, perhaps for lack of memory."
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#message")).to_contain_text("Happy")
    expect(page.locator("#notice")).to_be_hidden()


def test_page_opened_as_a_file_says_how_to_open_it(browser: Browser, tmp_path: Path) -> None:
    page_folder.write(tmp_path, page_folder.find_models(["small"]))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((tmp_path / "index.html").as_uri())
        expect(page.locator("#unopened")).to_be_visible()
        assert "python -m http.server" in page.inner_text("#unopened")
