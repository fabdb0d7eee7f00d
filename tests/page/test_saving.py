"""Saved files, dropped folders and pasted pictures."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from mien.recognition import records
from mien.recognition.recognizer import Recognizer
from tests.page.conftest import ASTRONAUT, choose_pictures, download_rows_when, drop_file, open_page, time_s, to_base64


def saved(page: Page, name: str) -> tuple[str, bytes]:
    """Presses a button that saves a file; returns the name and the content of that file."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_json_of_pictures_is_that_of_mien_recognize(site_page: Page) -> None:
    choose_pictures(site_page, [ASTRONAUT])
    expect(site_page.locator("#message")).to_contain_text("Happy")
    name, content = saved(site_page, "JSON")
    assert name == "faces.json"
    (record,) = json.loads(content)
    image = np.asarray(Image.open(ASTRONAUT).convert("RGB"))
    expected = records.to_record(ASTRONAUT.name, image, Recognizer(threads=1)(ASTRONAUT))
    (face,), (expected_face,) = record.pop("faces"), expected.pop("faces")
    assert record == expected
    assert list(face) == list(expected_face)
    assert face["box"] == pytest.approx(expected_face["box"], abs=1)
    assert face["probabilities"] == pytest.approx(expected_face["probabilities"], abs=0.01)


def test_saved_picture_has_the_size_of_the_original_and_shows_the_face(site_page: Page) -> None:
    choose_pictures(site_page, [ASTRONAUT])
    expect(site_page.locator("#message")).to_contain_text("Happy")
    name, content = saved(site_page, "Picture")
    assert name == "faces.png"
    picture, original = Image.open(io.BytesIO(content)).convert("RGB"), Image.open(ASTRONAUT).convert("RGB")
    assert picture.size == original.size
    changed = (np.abs(np.asarray(picture).astype(int) - np.asarray(original)) > 40).any(axis=2)
    assert 0.002 < changed.mean() < 0.1  # the box and its label


def test_json_lines_and_report_of_a_video_hold_its_frames(page: Page, site: str, video_file: Path) -> None:
    open_page(page, site)
    page.locator("#source").evaluate("video => (video.defaultPlaybackRate = 0.5)")
    drop_file(page, video_file, "video/webm")
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # the video has ended
    rows = download_rows_when(lambda rows: time_s(rows[-1]) >= 1.85, page, "the last frame to be recognised")
    name, content = saved(page, "JSON")
    assert name == "faces.jsonl"
    frames = [json.loads(line) for line in content.decode().splitlines()]
    assert [frame["frame"] for frame in frames] == list(range(len(frames)))
    faces = [face for frame in frames for face in frame["faces"]]
    assert len(faces) == len(rows)
    keys = ["track", "box", "score", "expression", "confidence", "uncertain", "probabilities", "landmarks"]
    assert list(faces[0]) == [*keys, "raw_probabilities"]
    name, content = saved(page, "Report")
    assert name == "report.html"
    report = page.context.new_page()
    report.set_content(content.decode())
    expect(report.locator("h1")).to_have_text("astronaut.webm")
    expect(report.locator("h2")).to_have_text(["Face 1"])
    assert re.search(r"happy \d+%", report.inner_text("section"))
    assert report.locator("img").evaluate_all("images => images.every((image) => image.naturalWidth === 128)")
    assert report.locator("polygon").count() >= 7
    report.close()


def test_pasted_picture_is_recognised(site_page: Page) -> None:
    site_page.evaluate(
        """(content) => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([toBytes(content)], "image.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }""",
        to_base64(ASTRONAUT),
    )
    expect(site_page.locator("#message")).to_contain_text("Happy")


def test_folder_gives_its_pictures_in_order(site_page: Page) -> None:
    names = site_page.evaluate(
        """async () => {
            const { mediaIn } = await importModule("files.js");
            const file = (name, type) => ({
                isFile: true, name, file: (done) => done(new File(["content"], name, { type })),
            });
            const folder = (name, entries) => ({
                isFile: false, isDirectory: true, name,
                createReader: () => {
                    const parts = [entries.slice(0, 2), entries.slice(2)].filter((part) => part.length);
                    return { readEntries: (done) => done(parts.shift() ?? []) };
                },
            });
            const inner = folder("b", [file("x.jpg", "image/jpeg")]);
            const outer = folder("outer", [file("10.png", "image/png"), inner, file("9.png", "image/png"),
                file("notes.txt", "text/plain")]);
            return (await mediaIn([outer])).map(({ name }) => name);
        }"""
    )
    assert names == ["9.png", "10.png", "x.jpg"]
