"""Single modules of the page: FrameReader, Transport, Tracks, Timeline and Viewer."""

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.page.conftest import open_page


def test_frame_reader_never_skips_a_still_frame(site_page: Page) -> None:
    frames = site_page.evaluate(
        """async () => {
            const { FrameReader } = await importModule("sources.js");
            let show;
            const video = Object.assign(document.createElement("canvas"), {
                paused: false,
                seeking: false,
                requestVideoFrameCallback: (callback) => {
                    show = (mediaTime) => callback(0, { mediaTime });
                    return 1;
                },
                cancelVideoFrameCallback: () => {},
            });
            const frames = [];
            const reader = new FrameReader(video);
            const read = async (meanwhile = () => {}, timeout_ms = 30_000) => {
                const next = reader.next();
                meanwhile();
                const timeout = new Promise((resolve) => setTimeout(resolve, timeout_ms, {}));
                const { time_s, jumped } = await Promise.race([next, timeout]);
                frames.push([time_s, jumped]);
            };
            show(1); // a newer frame comes before it is read
            await read(() => show(2));
            show(3); // the video pauses at this frame while the previous one is recognised
            video.paused = true;
            await read();
            await read(() => {
                video.dispatchEvent(new Event("seeking"));
                show(9);
            });
            reader.repeat();
            await read();
            video.paused = false;
            show(10);
            await read(() => {
                video.paused = true;
                video.dispatchEvent(new Event("pause"));
            });
            await read(() => {}, 1000); // there is no other frame
            return frames;
        }"""
    )
    assert frames == [[2, False], [3, False], [9, True], [9, False], [10, False], [None, None]]


def test_slider_of_a_video_without_duration_grows(site_page: Page) -> None:
    slider = site_page.evaluate(
        """async () => {
            const { Transport } = await importModule("transport.js");
            const video = { paused: true, duration: Infinity, currentTime: 0 };
            const element = document.querySelector("#transport").cloneNode(true);
            const slider = new Transport(element, video).element.children[1];
            return [0, 10, 3, "next video", 2].map((time_s) => {
                if (time_s === "next video") video.onemptied();
                else video.currentTime = time_s;
                video.ondurationchange();
                video.ontimeupdate();
                return [slider.max, slider.value];
            });
        }"""
    )
    assert slider == [["1", "0"], ["10", "10"], ["10", "3"], ["3", "3"], ["3", "2"]]


def test_labels_do_not_flicker(site_page: Page) -> None:
    faces = site_page.evaluate(
        """async () => {
            const { Tracks } = await importModule("tracks.js");
            const tracks = new Tracks(0.52);
            const face = (happy, x) => ({
                box: [x, 0, x + 100, 100], score: 1, landmarks: {}, uncertain: false,
                expression: happy > 0.5 ? "happy" : "sad", probabilities: { happy, sad: 1 - happy },
            });
            const still = [0, 1, 2, 3, 4, 5, 6].map((i) => tracks.update([face(i % 2 ? 0.45 : 0.55, i)], i / 10)[0]);
            const changed = [7, 8, 9, 10, 11, 12].map((i) => tracks.update([face(0, i)], i / 10)[0]);
            const other = tracks.update([face(1, 500), face(0, 13)], 1.3);
            const history = tracks.history(1).length;
            const slow = [4, 8, 12].map((time_s) => tracks.update([face(1, 500)], time_s)[0]);
            return { still, changed, other, history, slow };
        }"""
    )
    assert {face["expression"] for face in faces["still"]} == {"happy"}
    assert faces["still"][1]["probabilities"]["happy"] == pytest.approx(0.55 - 0.1 * (1 - np.exp(-1 / 3)))
    assert [face["expression"] for face in faces["changed"]] == ["sad"] * 6
    assert [face["id"] for face in faces["other"]] == [2, 1]
    assert faces["history"] == 14
    # Whether a face is uncertain depends on its average, as in Python.
    uncertain = [face["uncertain"] for face in faces["still"]]
    assert uncertain == [face["confidence"] < 0.52 for face in faces["still"]]
    assert set(uncertain) == {True, False}
    assert {face["id"] for face in faces["slow"]} == {2}  # also when the frames are seconds apart


def test_timeline_with_reduced_motion_still_changes_for_another_face(page: Page, site: str) -> None:
    page.emulate_media(reduced_motion="reduce")
    open_page(page, site)
    first, soon_after, other_face = page.evaluate(
        """async () => {
            const { Timeline } = await importModule("timeline.js");
            const canvas = document.body.appendChild(document.createElement("canvas"));
            const timeline = new Timeline(canvas);
            timeline.colours = { happy: "#ff9d00" };
            const moment = (happy, time_s) => ({ time_s, probabilities: { happy }, expression: "happy" });
            const [first, other] = [0.9, 0.2].map((happy) => [moment(happy, 0), moment(happy, 0.2)]);
            return [[first, 0.2], [first, 0.3], [other, 0.3]].map(([history, now_s]) => {
                timeline.draw(history, now_s);
                return canvas.toDataURL();
            });
        }"""
    )
    assert first == soon_after
    assert other_face != soon_after


def test_mirrored_faces_are_numbered_from_left_to_right(site_page: Page) -> None:
    plain, mirrored = site_page.evaluate(
        """async () => {
            const { Viewer } = await importModule("viewer.js");
            const viewer = new Viewer((id) => document.getElementById(id));
            const face = (x) => ({
                box: [x, 10, x + 50, 60], score: 1, landmarks: {}, uncertain: false, confidence: 1,
                expression: "happy", probabilities: { happy: 1 },
            });
            const views = [];
            for (const mirrored of [false, true]) {
                const bitmap = await createImageBitmap(new ImageData(400, 200));
                const faces = viewer.showFrame(bitmap, [face(20), face(120), face(300)], 0, mirrored);
                const buttons = [...document.querySelectorAll("#stage label")];
                views.push({
                    tracks: faces.map(({ id }) => id),
                    lefts: buttons.map((button) => parseFloat(button.style.left)),
                    numbers: buttons.map((button) => Number(button.querySelector("input").value)),
                    names: buttons.map((button) => button.textContent),
                    selected: document.querySelector("#stage label:has(:checked)").textContent,
                    heading: document.querySelector("#heading").textContent,
                });
            }
            return views;
        }"""
    )
    for view in (plain, mirrored):
        assert view.pop("names") == ["Face 1: happy", "Face 2: happy", "Face 3: happy"]
        assert view.pop("selected").startswith(view.pop("heading").removesuffix(" of 3"))
    assert plain == {"tracks": [1, 2, 3], "lefts": [5, 30, 75], "numbers": [1, 2, 3]}
    assert mirrored["tracks"] == [1, 2, 3]  # in the order of the camera
    assert mirrored["lefts"] == pytest.approx([12.5, 57.5, 82.5])
    assert mirrored["numbers"] == [3, 2, 1]
