"""The camera and videos, recognised frame by frame."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from mien.labels import EXPRESSIONS, class_colours
from mien.video.records import frame_columns
from tests.page.conftest import (
    ASTRONAUT,
    FRAME_RATE,
    STEP_PX,
    Rows,
    download_rows,
    download_rows_when,
    drop_file,
    open_page,
    read_canvas,
    time_s,
    to_base64,
)


@pytest.mark.parametrize("engine", ["browser", "service"])
def test_camera_is_recognised_frame_by_frame(engine: str, request: pytest.FixtureRequest, page: Page) -> None:
    # Slows the clock down, so that two frames fall into the two seconds of the speed display on any machine.
    page.add_init_script("const now = performance.now.bind(performance); performance.now = () => now() / 100;")
    open_page(page, request.getfixturevalue("site" if engine == "browser" else "service"))
    if engine == "service":
        page.get_by_text("on the service").click()
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("#message")).to_contain_text("Happy")
    expect(page.locator("#speed")).to_contain_text("frames/s")
    download_rows_when(has_moved, page, "the camera to show enough movement")
    page.get_by_role("button", name="Stop camera").click()
    rows = download_rows(page)
    assert list(rows[0]) == list(frame_columns(EXPRESSIONS))
    left = page.locator("#stage label").evaluate("button => parseFloat(button.style.left)")
    assert left == pytest.approx(100 - float(rows[-1]["x1"]) / 6.4, abs=0.01)  # mirrored; the camera is 640 pixels wide
    assert {row["track"] for row in rows} == {"1"}
    assert {row["expression"] for row in rows} == {"happy"}
    times_s = [time_s(row) for row in rows]
    assert times_s == sorted(times_s)
    assert has_moved(rows)
    colours = read_canvas(page, "#timeline").reshape(-1, 3)
    happy = [int(class_colours(EXPRESSIONS)["happy"][i : i + 2], 16) for i in (1, 3, 5)]
    assert (np.abs(colours.astype(int) - happy).max(axis=1) < 30).sum() > 20


def has_moved(rows: Rows) -> bool:
    """Returns whether there are four frames or more, over more than a second, in which the face moves."""
    lefts = [float(row["x0"]) for row in rows]
    return len(rows) >= 4 and time_s(rows[-1]) - time_s(rows[0]) > 1 and np.ptp(lefts) > 5 * STEP_PX


@pytest.mark.slow
def test_video_rows_have_the_times_of_the_video(page: Page, site: str, video_file: Path) -> None:
    open_page(page, site)
    # Slow playback, so that some frames between the first and the last are recognised even on a slow machine.
    page.locator("#source").evaluate("video => (video.defaultPlaybackRate = 0.25)")
    drop_file(page, video_file, "video/webm")
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # the video has ended
    rows = download_rows_when(lambda rows: time_s(rows[-1]) >= 1.85, page, "the last frame to be recognised")
    assert len(rows) >= 4
    assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
    left = page.locator("#stage label").evaluate("button => parseFloat(button.style.left)")
    assert left == pytest.approx(float(rows[-1]["x0"]) / 6.4, abs=0.01)
    for name in EXPRESSIONS:
        smoothed, raw = ([float(row[column]) for row in rows] for column in (name, f"raw_{name}"))
        assert smoothed[0] == raw[0]
        assert np.ptp(smoothed) <= np.ptp(raw)
    for row in rows:
        number = round(time_s(row) * FRAME_RATE)
        assert float(row["x0"]) == pytest.approx(168 + STEP_PX * number, abs=STEP_PX)
    page.get_by_label("Position in the video").fill("1")
    expect(page.locator("#clock")).to_have_text("0:01 / 0:02")
    expect(page.get_by_label("Position in the video")).to_have_value("1")
    rows = download_rows_when(lambda rows: time_s(rows[-1]) < 1.5, page, "the frame after the seek to be recognised")
    assert time_s(rows[-1]) == pytest.approx(1, abs=1.5 / FRAME_RATE)
    assert page.get_by_role("status").evaluate_all("elements => elements.map(({ id }) => id)") == ["announcement"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["video", "camera"])
def test_still_frame_is_recognised_again_by_another_model(page: Page, site: str, video_file: Path, source: str) -> None:
    open_page(page, site)
    if source == "video":
        drop_file(page, video_file, "video/webm")
    else:
        page.get_by_role("button", name="Camera").click()
    expect(page.locator("#message")).to_contain_text("Happy")
    if source == "video":
        expect(page.get_by_role("button", name="Play")).to_be_visible()  # the video has ended
    else:
        page.get_by_role("button", name="Stop camera").click()
    page.get_by_label("Model").select_option("masked")  # it is always uncertain
    expect(page.locator("#message")).to_contain_text("Perhaps ")
    expect(page.locator("#bars .top .value")).to_have_text(re.compile(r"\d+%"))
    last = download_rows(page)[-1]
    for name in EXPRESSIONS:  # the average starts again with the new model
        assert float(last[name]) == pytest.approx(float(last[f"raw_{name}"]), abs=1e-5)


def test_video_paused_while_it_loads_can_be_played(site_page: Page, video_file: Path) -> None:
    site_page.evaluate(
        """(content) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([toBytes(content)], "video.webm", { type: "video/webm" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer }));
            document.querySelector("#transport button").click();
        }""",
        to_base64(video_file),
    )
    play = site_page.get_by_role("button", name="Play")
    expect(play).to_be_visible()
    play.click()
    expect(site_page.locator("#message")).to_contain_text("Happy")
    expect(site_page.locator("#notice")).to_be_hidden()


@pytest.mark.parametrize("second", ["video", "picture"])
def test_second_file_replaces_a_video_that_is_still_loading(site_page: Page, video_file: Path, second: str) -> None:
    path, media_type = (video_file, "video/webm") if second == "video" else (ASTRONAUT, "image/jpeg")
    site_page.evaluate(
        """(files) => {
            for (const [name, type, content] of files) {
                const dataTransfer = new DataTransfer();
                dataTransfer.items.add(new File([toBytes(content)], name, { type }));
                document.dispatchEvent(new DragEvent("drop", { dataTransfer }));
            }
        }""",
        [
            ["first.webm", "video/webm", to_base64(video_file)],
            ["second", media_type, to_base64(path)],
        ],
    )
    expect(site_page.locator("#message")).to_contain_text("Happy")
    expect(site_page.locator("#notice")).to_be_hidden()
    expect(site_page.locator("#transport")).to_be_visible(visible=second == "video")
    assert bool(site_page.locator("#source").get_attribute("src")) == (second == "video")


def test_service_frames_sent_at_once_get_their_own_answers(page: Page, service: str) -> None:
    open_page(page, service)
    face_counts, error = page.evaluate(
        """async (content) => {
            const { ServiceEngine } = await importModule("service.js");
            const { Host } = await importModule("host.js");
            const engine = new ServiceEngine(new Host("v1/models", null));
            const picture = new Blob([toBytes(content)]);
            const frames = [await createImageBitmap(picture), await createImageBitmap(new ImageData(512, 512))];
            const timeout = new Promise((resolve) => setTimeout(resolve, 60_000, "timeout"));
            const counts = [0, 1, 0].map(async (i) => (await engine.recogniseFrame(frames[i])).faces.length);
            const faceCounts = await Promise.all(counts.map((count) => Promise.race([count, timeout])));
            const last = engine.recogniseFrame(frames[0]);
            engine.close();
            return [faceCounts, await Promise.race([last.catch(({ message }) => message), timeout])];
        }""",
        to_base64(ASTRONAUT),
    )
    assert face_counts == [1, 0, 1]
    assert error == "The service does not answer any more."
