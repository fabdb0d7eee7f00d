"""Bad pictures, videos and models."""

import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from mien.export import page as page_folder
from tests.page.conftest import ASTRONAUT, choose_pictures, download_rows, drop_file, hosted, read_notice
from tests.waiting import until


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
