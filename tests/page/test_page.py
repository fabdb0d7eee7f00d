"""The page in a real Chromium: both engines say what Python says, whatever the person does, and nothing leaves."""

import base64
import contextlib
import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from mien.detection.blazeface import BlazeFace, BlazeFaceVideo
from mien.export import page as page_folder
from mien.labels import COLOURS, EXPRESSIONS
from mien.models.onnx_model import OnnxModel
from mien.preprocess import crop
from mien.recognition import photo
from mien.recognition.recognizer import Recognizer
from mien.video.records import frame_columns
from tests.page.conftest import FRAMES_A_SECOND, STEP_PX, hosted, opened, serve
from tests.waiting import LONG_S, until

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
OUTLINE = "element => getComputedStyle(element).outlineStyle"


def drop(page: Page, path: Path, kind: str) -> None:
    """Drops a file of that media type onto the page."""
    page.dispatch_event(
        "#drop",
        "drop",
        {
            "dataTransfer": page.evaluate_handle(
                """([name, type, content]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], name, { type }));
            return transfer;
        }""",
                [path.name, kind, base64.b64encode(path.read_bytes()).decode()],
            )
        },
    )


def choose(page: Page, files: list[Path]) -> None:
    """Chooses pictures."""
    page.set_input_files("#picture-files", files)


def downloaded(page: Page) -> list[dict[str, str]]:
    """The rows of the CSV that the page gives."""
    with page.expect_download() as waiting:
        page.click("#csv")
    return list(csv.DictReader(io.StringIO(waiting.value.path().read_text(encoding="utf-8"))))


def time_s(row: dict[str, str]) -> float:
    """When a frame was shown."""
    return float(row["time_s"])


def downloaded_when(fits: Callable[[list[dict[str, str]]], bool], page: Page, what: str) -> list[dict[str, str]]:
    """The rows, once they fit; asked for now and then, for a browser holds back downloads that come fast."""

    def asked() -> list[dict[str, str]]:
        page.wait_for_timeout(500)
        rows = downloaded(page)
        return rows if fits(rows) else []

    return until(asked, what, 3 * LONG_S)


def notice(page: Page) -> str:
    """The sentence that says what went wrong, once there is one."""
    expect(page.locator("#notice")).to_be_visible()
    return page.inner_text("#notice span")


# What it says.


@pytest.mark.parametrize("engine", ["browser", "service"])
def test_both_engines_say_what_python_says(
    engine: str, request: pytest.FixtureRequest, page: Page, pictures: list[Path]
) -> None:
    opened(page, request.getfixturevalue("site" if engine == "browser" else "service"))
    assert page.evaluate("crossOriginIsolated") == (engine == "service")
    if engine == "service":
        page.get_by_text("on the service").click()
    choose(page, pictures)
    recognizer = Recognizer(threads=1)
    expected = {path.name: recognizer(path) for path in pictures}
    assert [len(faces) for faces in expected.values()] == [4, 1, 1, 1]
    expect(page.locator("#strip .done")).to_have_count(len(pictures))
    rows = downloaded(page)
    assert [row["path"] for row in rows] == [name for name, faces in expected.items() for _ in faces]
    for row, face in zip(rows, (face for faces in expected.values() for face in faces), strict=True):
        values = [float(row[name]) for name in EXPRESSIONS]
        assert values == pytest.approx(list(face.expression.probabilities.values()), abs=0.01), row["path"]
        assert [float(row[name]) for name in ("x0", "y0", "x1", "y1")] == pytest.approx(face.box.xyxy, abs=1)
        assert row["expression"] == face.expression.name
        assert row["uncertain"] == str(face.expression.uncertain).lower()


def test_scaling_is_pillows_to_the_bit(visited: Page) -> None:
    random = np.random.default_rng(0)
    for shape, size, box, tolerance in [
        ((37, 53, 3), (20, 11), (0, 0, 53, 37), 0),
        ((60, 40, 3), (30, 48), (5, 3, 31, 40), 0),
        ((90, 90), (48, 48), (0, 0, 90, 90), 0),
        ((17, 17), (48, 48), (0, 0, 17, 17), 0),
        ((300, 7, 3), (5, 192), (0, 0, 7, 300), 1),  # its passes are in another order before Pillow 13
    ]:
        image = random.integers(0, 256, shape, dtype=np.uint8)
        expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=box))
        source = {"width": shape[1], "height": shape[0], "channels": 3 if len(shape) == 3 else 1}
        got = visited.evaluate(
            """async ([source, values, size, box]) => {
                const { resize } = await import("./pixels.js");
                return [...resize({ ...source, data: Uint8Array.from(values) }, ...size, box).data];
            }""",
            [source, image.ravel().tolist(), size, box],
        )
        np.testing.assert_allclose(got, expected.ravel(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_pictures_are_upright_as_in_python(visited: Page, kind: str) -> None:
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    files = []
    for orientation in range(10):  # 0 and 9 mean nothing
        exif = Image.Exif()
        exif.endian = "<" if orientation % 2 else ">"
        exif[0x0100] = 7
        exif[0x0112] = orientation
        for extra in (b"", b"Exif\0\0") if kind == "WEBP" else (b"",):  # which some write once more
            stream = io.BytesIO()
            picture.save(stream, kind, lossless=True, exif=extra + exif.tobytes())
            files.append(stream.getvalue())
    seen = visited.evaluate(
        """async (files) => {
            const { decode, read } = await import("./pixels.js");
            const bytes = (content) => Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const seen = [];
            for (const content of files) {
                const { width, height, data } = read(await decode(new Blob([bytes(content)]), "it"));
                seen.push({ shape: [height, width, 3], data: [...data] });
            }
            return seen;
        }""",
        [base64.b64encode(file).decode() for file in files],
    )
    for file, got in zip(files, seen, strict=True):
        np.testing.assert_array_equal(np.reshape(got["data"], got["shape"]), photo.read(file))


def test_frames_are_looked_at_as_python_does(visited: Page, pictures: list[Path], masked: Path) -> None:
    content = base64.b64encode(pictures[0].read_bytes()).decode()
    answers = visited.evaluate(
        """async (content) => {
            const { BrowserEngine } = await import("./browser.js");
            const { Home } = await import("./home.js");
            const model = { name: "masked", file: "models/masked.onnx" };
            const engine = await BrowserEngine.open(model, new Home("models.json", null));
            const picture = new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))]);
            const answers = [];
            for (let number = 0; number < 3; number++) {
                const { frame, ...answer } = await engine.frame(await createImageBitmap(picture), number === 0);
                const masks = answer.faces[0].masks.map(({ values }) => [...values]);
                answers.push({ ...answer, masks, returned: frame.width });
            }
            engine.close();
            return answers;
        }""",
        content,
    )
    detector = BlazeFaceVideo(BlazeFace(threads=1))
    image_rgb = photo.read(pictures[0])
    for answer in answers:
        expected = sorted(detector(image_rgb), key=lambda each: each.box.x0)
        assert answer["returned"] == answer["width"] == 1600
        assert len(answer["faces"]) == len(expected) > 0
        for face, detection in zip(answer["faces"], expected, strict=True):
            assert face["box"] == pytest.approx(detection.box.xyxy, abs=0.5)
            assert face["score"] == pytest.approx(detection.score, abs=0.01)
            for name, point in detection.landmarks.items():
                assert face["landmarks"][name] == pytest.approx(point, abs=0.5)
        masks = OnnxModel(masked).masks([crop(photo.to_gray(image_rgb), expected[0].box)])
        for got, mask in zip(answer["masks"], masks, strict=True):
            np.testing.assert_allclose(got, mask.ravel(), atol=1e-3)


def test_masks_lie_over_the_face(page: Page, site: str) -> None:
    opened(page, site)
    page.get_by_label("Model").select_option("maskless")
    expect(page.locator("#said")).to_have_text("Ready.")
    expect(page.get_by_label("Masks")).to_be_hidden()
    page.get_by_label("Model").select_option("masked")
    expect(page.get_by_label("Masks")).to_be_visible()
    choose(page, [ASTRONAUT])
    expect(page.locator("#said")).to_contain_text("Perhaps ")
    plain = drawn(page, "#stage canvas")
    page.get_by_label("Masks").select_option("stage 2")
    heated = drawn(page, "#stage canvas")
    x0, y0, x1, y1 = (float(downloaded(page)[0][name]) for name in ("x0", "y0", "x1", "y1"))
    changed = np.argwhere((plain != heated).any(axis=2)) * 512 / len(plain)  # rows and columns of the picture
    assert changed.min(axis=0) == pytest.approx([y0, x0], abs=2)
    assert changed.max(axis=0) == pytest.approx([y1, x1], abs=2)


def drawn(page: Page, selector: str) -> NDArray[np.uint8]:
    """What a canvas shows, (H, W, 3)."""
    address = page.locator(selector).evaluate("canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))


# What moves.


@pytest.mark.parametrize("engine", ["browser", "service"])
def test_the_camera_is_followed(engine: str, request: pytest.FixtureRequest, page: Page) -> None:
    # Or a speed would be shown only where two frames are recognised within two seconds.
    page.add_init_script("const now = performance.now.bind(performance); performance.now = () => now() / 100;")
    opened(page, request.getfixturevalue("site" if engine == "browser" else "service"))
    if engine == "service":
        page.get_by_text("on the service").click()
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("#said")).to_contain_text("Happy")
    expect(page.locator("#speed")).to_contain_text("frames/s")
    downloaded_when(moved, page, "the camera to show enough of her")
    page.get_by_role("button", name="Stop camera").click()
    rows = downloaded(page)
    assert list(rows[0]) == list(frame_columns(EXPRESSIONS))
    left = page.locator("#stage label").evaluate("button => parseFloat(button.style.left)")
    assert left == pytest.approx(100 - float(rows[-1]["x1"]) / 6.4, abs=0.01)  # as in a mirror, 640 pixels wide
    assert {row["track"] for row in rows} == {"1"}  # she keeps her number, however few frames a busy machine takes
    assert {row["expression"] for row in rows} == {"happy"}
    times_s = [time_s(row) for row in rows]
    assert times_s == sorted(times_s)
    assert moved(rows)
    colours = drawn(page, "#timeline").reshape(-1, 3)
    happy = [int(COLOURS["happy"][i : i + 2], 16) for i in (1, 3, 5)]
    assert (np.abs(colours.astype(int) - happy).max(axis=1) < 30).sum() > 20


def moved(rows: list[dict[str, str]]) -> bool:
    """Whether the camera was followed for a second, in four frames or more, and the face is not always in one place."""
    lefts = [float(row["x0"]) for row in rows]
    return len(rows) >= 4 and time_s(rows[-1]) - time_s(rows[0]) > 1 and np.ptp(lefts) > 5 * STEP_PX


def test_a_video_is_followed_with_its_own_times(page: Page, site: str, film: Path) -> None:
    opened(page, site)
    # So slowly that some frames between its first and its last are recognised on a slow machine too.
    page.locator("#source").evaluate("video => (video.defaultPlaybackRate = 0.25)")
    drop(page, film, "video/webm")
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # it has ended
    what = "the last frame, which stands, to be recognised"
    rows = downloaded_when(lambda rows: time_s(rows[-1]) >= 1.85, page, what)
    assert len(rows) >= 4
    assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
    left = page.locator("#stage label").evaluate("button => parseFloat(button.style.left)")
    assert left == pytest.approx(float(rows[-1]["x0"]) / 6.4, abs=0.01)
    for name in EXPRESSIONS:
        steady, raw = ([float(row[column]) for row in rows] for column in (name, f"raw_{name}"))
        assert steady[0] == raw[0]
        assert np.ptp(steady) <= np.ptp(raw)
    for row in rows:
        number = round(time_s(row) * FRAMES_A_SECOND)
        assert float(row["x0"]) == pytest.approx(168 + STEP_PX * number, abs=STEP_PX)
    page.get_by_label("Position in the video").fill("1")
    expect(page.locator("#clock")).to_have_text("0:01 / 0:02")
    expect(page.get_by_label("Position in the video")).to_have_value("1")
    rows = downloaded_when(lambda rows: time_s(rows[-1]) < 1.5, page, "what stands there to be recognised")
    assert time_s(rows[-1]) == pytest.approx(1, abs=1.5 / FRAMES_A_SECOND)
    assert page.get_by_role("status").evaluate_all("spoken => spoken.map(({ id }) => id)") == ["spoken"]


def test_no_frame_that_stands_is_missed(visited: Page) -> None:
    seen = visited.evaluate(
        """async () => {
            const { Frames } = await import("./sources.js");
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
            const seen = [];
            const frames = new Frames(video);
            const taken = async (happens = () => {}, within_ms = 30_000) => {
                const waiting = frames.next();
                happens();
                const late = new Promise((resolve) => setTimeout(resolve, within_ms, {}));
                const frame = await Promise.race([waiting, late]);
                seen.push([frame.time_s, frame.jumped]);
            };
            show(1); // nobody waits, and a newer one comes
            await taken(() => show(2));
            show(3); // while the one before is recognised, and it stands
            video.paused = true;
            await taken();
            await taken(() => {
                video.dispatchEvent(new Event("seeking"));
                show(9);
            });
            frames.again(); // it was taken in vain
            await taken();
            video.paused = false;
            show(10);
            await taken(() => {
                video.paused = true;
                video.dispatchEvent(new Event("pause"));
            });
            await taken(() => {}, 1000); // there is none
            return seen;
        }"""
    )
    assert seen == [[2, False], [3, False], [9, True], [9, False], [10, False], [None, None]]


def test_the_slider_is_as_long_as_what_was_seen_where_nothing_says_it(visited: Page) -> None:
    ends = visited.evaluate(
        """async () => {
            const { Transport } = await import("./transport.js");
            const video = { paused: true, duration: Infinity, currentTime: 0 };
            const element = document.querySelector("#transport").cloneNode(true);
            const slider = new Transport(element, video).element.children[1];
            return [0, 10, 3, "another", 2].map((time_s) => {
                if (time_s === "another") video.onemptied();
                else video.currentTime = time_s;
                video.ondurationchange();
                video.ontimeupdate();
                return [slider.max, slider.value];
            });
        }"""
    )
    assert ends == [["1", "0"], ["10", "10"], ["10", "3"], ["3", "3"], ["3", "2"]]


def test_a_large_picture_is_read_as_it_is(visited: Page) -> None:
    assert visited.evaluate(
        """async () => {
            const { read } = await import("./pixels.js");
            const canvas = new OffscreenCanvas(3001, 2003);
            const context = canvas.getContext("2d", { willReadFrequently: true });
            const image = context.createImageData(3001, 2003);
            for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 === 3 ? 255 : (i * 2654435761) >>> 24;
            context.putImageData(image, 0, 0);
            const { data } = read(await createImageBitmap(canvas));
            return image.data.every((value, i) => i % 4 === 3 || value === data[i - (i >> 2)]);
        }"""
    )


def test_each_frame_on_the_service_gets_its_own_answer(page: Page, service: str) -> None:
    opened(page, service)
    faces, gone = page.evaluate(
        """async (content) => {
            const { ServiceEngine } = await import("./service.js");
            const { Home } = await import("./home.js");
            const engine = new ServiceEngine(new Home("v1/models", null));
            const picture = new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))]);
            const seen = [await createImageBitmap(picture), await createImageBitmap(new ImageData(512, 512))];
            const late = new Promise((resolve) => setTimeout(resolve, 60_000, "never"));
            const counts = [0, 1, 0].map(async (which) => (await engine.frame(seen[which])).faces.length);
            const faces = await Promise.all(counts.map((count) => Promise.race([count, late])));
            const last = engine.frame(seen[0]);
            engine.close();
            return [faces, await Promise.race([last.catch(({ message }) => message), late])];
        }""",
        base64.b64encode(ASTRONAUT.read_bytes()).decode(),
    )
    assert faces == [1, 0, 1]
    assert gone == "The service does not answer any more."


@pytest.mark.parametrize("way", ["video", "camera"])
def test_what_stands_still_is_recognised_by_another_model(page: Page, site: str, film: Path, way: str) -> None:
    opened(page, site)
    if way == "video":
        drop(page, film, "video/webm")
    else:
        page.get_by_role("button", name="Camera").click()
    expect(page.locator("#said")).to_contain_text("Happy")
    if way == "video":
        expect(page.get_by_role("button", name="Play")).to_be_visible()  # it has ended
    else:
        page.get_by_role("button", name="Stop camera").click()
    page.get_by_label("Model").select_option("masked")  # which is never certain
    expect(page.locator("#said")).to_contain_text("Perhaps ")
    expect(page.locator("#bars .first .value")).to_have_text(re.compile(r"\d+%"))
    last = downloaded(page)[-1]
    for name in EXPRESSIONS:
        assert float(last[name]) == pytest.approx(float(last[f"raw_{name}"]), abs=1e-5)  # nothing of the other model


def test_another_faces_past_is_shown_where_little_moves(page: Page, site: str) -> None:
    page.emulate_media(reduced_motion="reduce")
    opened(page, site)
    first, moved, other = page.evaluate(
        """async () => {
            const { Timeline } = await import("./timeline.js");
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
    assert first == moved
    assert other != moved


def test_labels_do_not_flicker(visited: Page) -> None:
    shown = visited.evaluate(
        """async () => {
            const { Tracks } = await import("./tracks.js");
            const tracks = new Tracks(0.52);
            const face = (happy, x) => ({
                box: [x, 0, x + 100, 100], score: 1, landmarks: {}, uncertain: false,
                expression: happy > 0.5 ? "happy" : "sad", probabilities: { happy, sad: 1 - happy },
            });
            const still = [0, 1, 2, 3, 4, 5, 6].map((i) => tracks.update([face(i % 2 ? 0.45 : 0.55, i)], i / 10)[0]);
            const turned = [7, 8, 9, 10, 11, 12].map((i) => tracks.update([face(0, i)], i / 10)[0]);
            const other = tracks.update([face(1, 500), face(0, 13)], 1.3);
            const history = tracks.history(1).length;
            const slow = [4, 8, 12].map((time_s) => tracks.update([face(1, 500)], time_s)[0]);
            return { still, turned, other, history, slow };
        }"""
    )
    assert {face["expression"] for face in shown["still"]} == {"happy"}
    assert shown["still"][1]["probabilities"]["happy"] == pytest.approx(0.55 - 0.1 * (1 - np.exp(-1 / 3)))
    assert [face["expression"] for face in shown["turned"]] == ["sad"] * 6
    assert [face["id"] for face in shown["other"]] == [2, 1]
    assert shown["history"] == 14
    # Of what is averaged, as in Python, though no frame has any.
    doubts = [face["uncertain"] for face in shown["still"]]
    assert doubts == [face["confidence"] < 0.52 for face in shown["still"]]
    assert set(doubts) == {True, False}
    assert {face["id"] for face in shown["slow"]} == {2}  # however far apart the frames of a slow machine are


def test_faces_are_chosen_from_left_to_right_as_they_are_shown(visited: Page) -> None:
    plain, mirrored = visited.evaluate(
        """async () => {
            const { Viewer } = await import("./viewer.js");
            const viewer = new Viewer((id) => document.getElementById(id));
            const face = (x) => ({
                box: [x, 10, x + 50, 60], score: 1, landmarks: {}, uncertain: false, confidence: 1,
                expression: "happy", probabilities: { happy: 1 },
            });
            const seen = [];
            for (const mirrored of [false, true]) {
                const bitmap = await createImageBitmap(new ImageData(400, 200));
                const shown = viewer.showFrame(bitmap, [face(20), face(120), face(300)], 0, mirrored);
                const buttons = [...document.querySelectorAll("#stage label")];
                seen.push({
                    tracks: shown.map(({ id }) => id),
                    places: buttons.map((button) => parseFloat(button.style.left)),
                    numbers: buttons.map((button) => Number(button.querySelector("input").value)),
                    names: buttons.map((button) => button.textContent),
                    chosen: document.querySelector("#stage label:has(:checked)").textContent,
                    heading: document.querySelector("#face").textContent,
                });
            }
            return seen;
        }"""
    )
    for seen in (plain, mirrored):
        assert seen.pop("names") == ["Face 1: happy", "Face 2: happy", "Face 3: happy"]
        assert seen.pop("chosen").startswith(seen.pop("heading").removesuffix(" of 3"))
    assert plain == {"tracks": [1, 2, 3], "places": [5, 30, 75], "numbers": [1, 2, 3]}
    assert mirrored["tracks"] == [1, 2, 3]  # as the camera has them
    assert mirrored["places"] == pytest.approx([12.5, 57.5, 82.5])
    assert mirrored["numbers"] == [3, 2, 1]


# What leaves the machine.


def test_in_the_browser_no_picture_is_sent(page: Page, service: str) -> None:
    sent, sockets = [], []
    page.on("request", lambda request: sent.append(request.method))
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(service, wait_until="domcontentloaded")
    choose(page, [ASTRONAUT])  # before any engine is ready
    expect(page.locator("#said")).to_contain_text("Happy")
    expect(page.locator("#where")).to_have_text("Pictures stay on this machine.")
    assert set(sent) == {"GET"}
    assert not sockets


def test_each_request_carries_the_token(page: Page, service: str) -> None:
    carried, sockets = {}, []
    page.on("request", lambda request: carried.update({request.url: request.headers.get("authorization")}))
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(f"{service}#token=secret&camera")
    page.get_by_text("on the service").click()
    expect(page.locator("#said")).to_contain_text("Happy")
    expect(page.locator("#speed")).to_contain_text("there and back")
    choose(page, [ASTRONAUT])
    expect(page.locator("#csv")).to_be_enabled()
    for path in ("v1/models", "models/small.onnx", "models/blazeface_full_range.onnx", "v1/recognize"):
        assert carried[f"{service}{path}"] == "Bearer secret"
    assert sockets == [f"{service.replace('http', 'ws')}v1/frames?token=secret"]
    assert not any("secret" in url for url in carried)


# What goes wrong.


def test_what_is_no_picture_gets_a_sentence_and_the_others_are_recognised(visited: Page, tmp_path: Path) -> None:
    page = visited
    bad = [tmp_path / name for name in ("noise.png", "empty.jpg", "cut.png")]
    bad[0].write_bytes(b"no picture at all")
    bad[1].touch()
    bad[2].write_bytes(ASTRONAUT.read_bytes()[:100])
    for path in bad:
        choose(page, [path])
        expect(page.locator("#notice")).to_contain_text(path.name)
        assert re.fullmatch(r"[^.]+\.\w+ (cannot be read as a picture: .+|is empty; .+)\.", notice(page))
        expect(page.locator("#empty")).to_be_visible()
    choose(page, [bad[0], ASTRONAUT])
    expect(page.locator("#strip .done")).to_have_count(1)
    assert [row["path"] for row in downloaded(page)] == [ASTRONAUT.name]
    page.get_by_text(ASTRONAUT.name).click()
    expect(page.locator("#said")).to_contain_text("Happy")


def test_a_video_that_is_none_gets_a_sentence(visited: Page, tmp_path: Path) -> None:
    path = tmp_path / "noise.webm"
    path.write_bytes(b"no video at all")
    visited.set_input_files("#video-file", path)
    expect(visited.locator("#notice")).to_contain_text("noise.webm cannot be played: ")


def test_a_video_that_breaks_off_gets_a_sentence_that_stays(visited: Page, film: Path) -> None:
    drop(visited, film, "video/webm")
    expect(visited.locator("#said")).to_contain_text("Happy")
    visited.evaluate("() => document.querySelector('#source').dispatchEvent(new Event('error'))")
    visited.wait_for_timeout(1000)  # the frame that was being recognised has its answer
    assert "cannot be played any further: it is damaged." in notice(visited)
    expect(visited.locator("#transport")).to_be_hidden()


@pytest.mark.parametrize("second", ["video", "picture"])
def test_what_is_opened_while_a_video_still_loads_takes_its_place(visited: Page, film: Path, second: str) -> None:
    path, kind = (film, "video/webm") if second == "video" else (ASTRONAUT, "image/jpeg")
    visited.evaluate(
        """(files) => {
            for (const [name, type, content] of files) {
                const dataTransfer = new DataTransfer();
                const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                dataTransfer.items.add(new File([bytes], name, { type }));
                document.dispatchEvent(new DragEvent("drop", { dataTransfer }));
            }
        }""",
        [
            ["first.webm", "video/webm", base64.b64encode(film.read_bytes()).decode()],
            ["second", kind, base64.b64encode(path.read_bytes()).decode()],
        ],
    )
    expect(visited.locator("#said")).to_contain_text("Happy")
    expect(visited.locator("#notice")).to_be_hidden()
    expect(visited.locator("#transport")).to_be_visible(visible=second == "video")
    assert bool(visited.locator("#source").get_attribute("src")) == (second == "video")


def test_a_video_that_is_paused_while_it_loads_waits(visited: Page, film: Path) -> None:
    visited.evaluate(
        """(content) => {
            const dataTransfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            dataTransfer.items.add(new File([bytes], "film.webm", { type: "video/webm" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer }));
            document.querySelector("#transport button").click();
        }""",
        base64.b64encode(film.read_bytes()).decode(),
    )
    play = visited.get_by_role("button", name="Play")
    expect(play).to_be_visible()
    play.click()
    expect(visited.locator("#said")).to_contain_text("Happy")
    expect(visited.locator("#notice")).to_be_hidden()


def test_a_picture_without_a_face_says_so(visited: Page, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "gray").save(tmp_path / "nobody.png")
    choose(visited, [tmp_path / "nobody.png"])
    expect(visited.locator("#said")).to_have_text("No face was found.")
    expect(visited.locator("#spoken")).to_have_text("No face was found.")
    expect(visited.locator("#csv")).to_be_disabled()


@pytest.fixture
def asked(page: Page, site: str) -> Page:
    """The page where the person's answer to the browser's question for the camera is `answer(permitted)`."""
    page.add_init_script(
        """
        const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
            const permitted = await new Promise((resolve) => (window.answer = resolve));
            if (!permitted) throw new DOMException("", "NotAllowedError");
            window.stream = await real(wanted);
            return window.stream;
        };
        """
    )
    opened(page, site).get_by_role("button", name="Camera").click()
    expect(page.locator("#said")).to_have_text("Opening the camera…")
    return page


def test_a_camera_that_is_permitted_late_leaves_the_video_alone(asked: Page, film: Path) -> None:
    drop(asked, film, "video/webm")
    expect(asked.locator("#said")).to_contain_text("Happy")
    asked.evaluate("answer(true)")
    asked.wait_for_function("() => window.stream?.getTracks().every(({ readyState }) => readyState === 'ended')")
    assert asked.evaluate("() => document.querySelector('#source').srcObject") is None
    expect(asked.get_by_role("button", name="Play")).to_be_visible()  # or it would go on from there
    asked.get_by_label("Position in the video").fill("1")
    expect(asked.locator("#clock")).to_have_text("0:01 / 0:02")


def test_a_camera_that_is_refused_late_leaves_the_picture_alone(asked: Page) -> None:
    choose(asked, [ASTRONAUT])
    expect(asked.locator("#said")).to_contain_text("Happy")
    asked.evaluate("answer(false)")
    asked.wait_for_timeout(200)
    expect(asked.locator("#said")).to_contain_text("Happy")
    expect(asked.locator("#notice")).to_be_hidden()


def test_a_camera_that_is_stopped_before_it_is_permitted_stays_off(asked: Page) -> None:
    asked.get_by_role("button", name="Stop camera").click()
    expect(asked.locator("#said")).to_have_text("The camera is off.")
    asked.evaluate("answer(true)")
    asked.wait_for_function("() => window.stream?.getTracks().every(({ readyState }) => readyState === 'ended')")
    expect(asked.locator("#said")).to_have_text("The camera is off.")


def test_a_camera_that_is_taken_away_gets_a_sentence(asked: Page) -> None:
    asked.evaluate("answer(true)")
    expect(asked.locator("#said")).to_contain_text("Happy")
    asked.evaluate("stream.getTracks()[0].dispatchEvent(new Event('ended'))")
    assert notice(asked) == "The camera was taken away; connect it and press Camera again."
    asked.wait_for_timeout(1000)  # the frame that was being recognised has its answer
    expect(asked.locator("#notice")).to_be_visible()
    expect(asked.get_by_role("button", name="Camera")).to_have_text("Camera")


def test_without_permission_the_camera_gets_a_sentence(browser: Browser, site: str) -> None:
    with browser.new_context() as context:
        page = opened(context.new_page(), site)
        page.get_by_role("button", name="Camera").click()
        assert notice(page).startswith("The camera was not permitted;")
        expect(page.get_by_role("button", name="Camera")).to_have_text("Camera")
        choose(page, [ASTRONAUT])  # and all else goes on
        expect(page.locator("#said")).to_contain_text("Happy")
        expect(page.locator("#notice")).to_be_hidden()


def test_without_a_camera_there_is_a_sentence(chromium: str, browser: Browser, site: str) -> None:
    with contextlib.closing(browser.browser_type.launch(executable_path=chromium, args=["--no-sandbox"])) as bare:
        page = bare.new_context(permissions=["camera"]).new_page()
        page.goto(site)
        page.get_by_role("button", name="Camera").click()
        assert notice(page) == "No camera was found; connect one and press Camera again."


def test_a_missing_model_gets_a_sentence(page: Page, tmp_path: Path) -> None:
    page_folder.write(tmp_path, page_folder.find_models(["small"]))
    (tmp_path / "models" / "small.onnx").unlink()
    with hosted(tmp_path) as url:
        with page.expect_worker():
            page.goto(url)
        assert notice(page) == "The model small.onnx is missing (404); whoever hosts this page must put it there."
        until(lambda: page.evaluate("true") and not page.workers, "its worker to end")


def test_without_its_token_the_service_gets_a_sentence_that_can_be_followed(page: Page) -> None:
    host = serve(token="se+cret=")
    page.goto(host.url)
    asks = "The service asks for a token: open the page with #token=… at the end of its address."
    assert notice(page) == asks
    choose(page, [ASTRONAUT])  # cannot be recognised, which is said and not waited for
    expect(page.locator("#notice")).to_be_visible()
    assert notice(page) == asks
    page.goto(f"{host.url}#token=secret")
    expect(page.locator("#notice")).to_contain_text("The service does not know this token;")
    opened(page, f"{host.url}#token=se+cret=")
    expect(page.locator("#notice")).to_be_hidden()
    page.goto(f"{host.url}#token=se+cret=&camera")
    expect(page.locator("#said")).to_contain_text("Happy")
    host.stop()


def gone(page: Page) -> str:
    """The address of a service that stopped while it recognised the camera."""
    host = serve()
    opened(page, host.url)
    page.get_by_text("on the service").click()
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("#said")).to_contain_text("Happy")
    host.stop()
    assert notice(page) == "The service does not answer any more."
    return host.url


def test_where_the_service_goes_the_browser_goes_on(page: Page) -> None:
    gone(page)
    expect(page.locator("#speed")).to_contain_text("there and back")
    page.get_by_role("button", name="Recognise in this browser").click()
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#speed")).to_contain_text("ms a face")
    expect(page.locator("#said")).to_contain_text("Happy")


def test_a_service_that_comes_back_is_asked_again(page: Page) -> None:
    again = serve(port=int(gone(page).rsplit(":", 1)[1].strip("/")))
    expect(page.locator("#notice")).to_be_hidden()
    again.stop()


# Who uses it.


def test_it_can_be_used_with_the_keyboard_alone(page: Page, site: str, pictures: list[Path]) -> None:
    opened(page, site)
    for id_ in ("theme", "camera", "pictures", "video"):
        page.keyboard.press("Tab")
        expect(page.locator(f"#{id_}")).to_be_focused()
        assert page.locator(f"#{id_}").evaluate(OUTLINE) == "solid"
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")

    choose(page, pictures[:1])
    expect(page.locator("#face")).to_have_text(re.compile(r"Face \d of 4"))
    page.locator("#stage input:checked").focus()
    before = page.inner_text("#face")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#face")).not_to_have_text(before)
    ring = page.locator("#stage label:has(:focus-visible)").evaluate(OUTLINE)
    assert ring == "solid"
    assert page.locator("#stage input:checked").get_attribute("value") == re.findall(r"\d", page.inner_text("#face"))[0]


def test_no_screen_is_too_small(page: Page, service: str, pictures: list[Path]) -> None:
    opened(page, service)
    choose(page, pictures[1:])
    expect(page.locator("#strip .done")).to_have_count(3)
    for width in (320, 360, 700, 1280):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 320, "height": 700})
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("#said")).to_contain_text("Happy")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320


def test_colours_are_light_or_dark_as_the_system_says(page: Page, site: str) -> None:
    page.goto(site)
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("() => localStorage.clear()")
        page.reload()
        (colour,) = [page.evaluate("() => getComputedStyle(document.body).backgroundColor")]
        grounds.append(sum(int(value) for value in re.findall(r"\d+", colour)[:3]))
    assert grounds[0] > 600
    assert grounds[1] < 100
