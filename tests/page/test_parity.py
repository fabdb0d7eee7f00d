"""Both engines give the same results as Python."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from mien.detection.tilt import turn_deg
from mien.detection.yunet import YuNet
from mien.labels import EXPRESSIONS
from mien.models.onnx_model import OnnxModel
from mien.preprocess import crop
from mien.recognition import photo
from mien.recognition.recognizer import Recognizer
from tests.page.conftest import ASTRONAUT, choose_pictures, download_rows, open_page, read_canvas, to_base64


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["browser", "service"])
def test_both_engines_give_the_faces_that_python_finds(
    engine: str, request: pytest.FixtureRequest, page: Page, picture_files: list[Path]
) -> None:
    open_page(page, request.getfixturevalue("site" if engine == "browser" else "service"))
    assert page.evaluate("crossOriginIsolated") == (engine == "service")
    if engine == "service":
        page.get_by_text("on the service").click()
    choose_pictures(page, picture_files)
    recognizer = Recognizer(threads=1)
    expected = {path.name: recognizer(path) for path in picture_files}
    assert [len(faces) for faces in expected.values()] == [4, 1, 1, 1, 1]
    expect(page.locator("#strip .done")).to_have_count(len(picture_files))
    rows = download_rows(page)
    assert [row["path"] for row in rows] == [name for name, faces in expected.items() for _ in faces]
    for row, face in zip(rows, (face for faces in expected.values() for face in faces), strict=True):
        values = [float(row[name]) for name in EXPRESSIONS]
        is_turned = turn_deg(face.landmarks) != 0  # cropped and rounded in other steps than in Python
        difference, distance_px = (0.05, 2) if is_turned else (0.01, 1)
        assert values == pytest.approx(list(face.expression.probabilities.values()), abs=difference), row["path"]
        assert [float(row[name]) for name in ("x0", "y0", "x1", "y1")] == pytest.approx(face.box.xyxy, abs=distance_px)
        assert row["expression"] == face.expression.name
        assert row["uncertain"] == str(face.expression.uncertain).lower()


def test_resize_equals_pillow(site_page: Page) -> None:
    random = np.random.default_rng(0)
    for shape, size, box, tolerance in [
        ((37, 53, 3), (20, 11), (0, 0, 53, 37), 0),
        ((60, 40, 3), (30, 48), (5, 3, 31, 40), 0),
        ((90, 90), (48, 48), (0, 0, 90, 90), 0),
        ((17, 17), (48, 48), (0, 0, 17, 17), 0),
        ((300, 7, 3), (5, 192), (0, 0, 7, 300), 1),  # Pillow before 13 scales rows and columns in another order
    ]:
        image = random.integers(0, 256, shape, dtype=np.uint8)
        expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=box))
        source = {"width": shape[1], "height": shape[0], "channels": 3 if len(shape) == 3 else 1}
        resized = site_page.evaluate(
            """async ([source, values, size, box]) => {
                const { resize } = await importModule("pixels.js");
                return [...resize({ ...source, data: Uint8Array.from(values) }, ...size, box).data];
            }""",
            [source, image.ravel().tolist(), size, box],
        )
        np.testing.assert_allclose(resized, expected.ravel(), rtol=0, atol=tolerance)


def test_large_picture_is_read_unchanged(site_page: Page) -> None:
    assert site_page.evaluate(
        """async () => {
            const { readPixels } = await importModule("pixels.js");
            const canvas = new OffscreenCanvas(3001, 2003);
            const context = canvas.getContext("2d", { willReadFrequently: true });
            const image = context.createImageData(3001, 2003);
            for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 === 3 ? 255 : (i * 2654435761) >>> 24;
            context.putImageData(image, 0, 0);
            const { data } = readPixels(await createImageBitmap(canvas));
            return image.data.every((value, i) => i % 4 === 3 || value === data[i - (i >> 2)]);
        }"""
    )


@pytest.mark.parametrize("file_format", ["WEBP", "PNG"])
def test_decoded_pictures_are_upright_like_in_python(site_page: Page, file_format: str) -> None:
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    files = []
    for orientation in range(10):  # 0 and 9 are invalid
        exif = Image.Exif()
        exif.endian = "<" if orientation % 2 else ">"
        exif[0x0100] = 7
        exif[0x0112] = orientation
        for extra in (b"", b"Exif\0\0") if file_format == "WEBP" else (b"",):  # some writers add this
            stream = io.BytesIO()
            picture.save(stream, file_format, lossless=True, exif=extra + exif.tobytes())
            files.append(stream.getvalue())
    decoded = site_page.evaluate(
        """async (files) => {
            const { decode, readPixels } = await importModule("pixels.js");
            const images = [];
            for (const content of files) {
                const { width, height, data } = readPixels(await decode(new Blob([toBytes(content)]), "a picture"));
                images.push({ shape: [height, width, 3], data: [...data] });
            }
            return images;
        }""",
        [base64.b64encode(file).decode() for file in files],
    )
    for file, image in zip(files, decoded, strict=True):
        np.testing.assert_array_equal(np.reshape(image["data"], image["shape"]), photo.read(file))


@pytest.mark.slow
def test_frames_give_the_faces_and_masks_that_python_finds(
    site_page: Page, picture_files: list[Path], masked: Path
) -> None:
    answers = site_page.evaluate(
        """async (content) => {
            const { BrowserEngine } = await importModule("browser.js");
            const { Host } = await importModule("host.js");
            const model = { name: "masked", file: "models/masked.onnx" };
            const engine = await BrowserEngine.open(model, new Host("models.json", null));
            const picture = new Blob([toBytes(content)]);
            const answers = [];
            for (let i = 0; i < 3; i++) {
                const { frame, ...answer } = await engine.recogniseFrame(await createImageBitmap(picture), i === 0);
                const masks = answer.faces[0].masks.map(({ values }) => [...values]);
                answers.push({ ...answer, masks, frameWidth: frame.width });
            }
            engine.close();
            return answers;
        }""",
        to_base64(picture_files[0]),
    )
    detector = YuNet(threads=1).for_video()
    image_rgb = photo.read(picture_files[0])
    for number, answer in enumerate(answers):
        expected = sorted(detector(image_rgb), key=lambda each: each.box.x0)
        assert answer["frameWidth"] == answer["width"] == 1600
        assert len(answer["faces"]) == len(expected) > 0
        for face, detection in zip(answer["faces"], expected, strict=True):
            # A followed face is looked for in a view of 128 pixels.
            distance_px = 0.5 if number == 0 else 0.12 * detection.box.width
            assert face["box"] == pytest.approx(detection.box.xyxy, abs=distance_px)
            assert face["score"] == pytest.approx(detection.score, abs=0.01)
            for name, point in detection.landmarks.items():
                assert face["landmarks"][name] == pytest.approx(point, abs=distance_px)
        if number:
            continue
        masks = OnnxModel(masked).masks([crop(photo.to_gray(image_rgb), expected[0].box)])
        for page_mask, mask in zip(answer["masks"], masks, strict=True):
            np.testing.assert_allclose(page_mask, mask.ravel(), atol=1e-3)


@pytest.mark.slow
def test_mask_is_drawn_over_the_face(page: Page, site: str) -> None:
    open_page(page, site)
    page.get_by_label("Model").select_option("maskless")
    expect(page.locator("#message")).to_have_text("Ready.")
    expect(page.get_by_label("Masks")).to_be_hidden()
    page.get_by_label("Model").select_option("masked")
    expect(page.get_by_label("Masks")).to_be_visible()
    choose_pictures(page, [ASTRONAUT])
    expect(page.locator("#message")).to_contain_text("Perhaps ")
    plain = read_canvas(page, "#stage canvas")
    page.get_by_label("Masks").select_option("stage 2")
    masked = read_canvas(page, "#stage canvas")
    x0, y0, x1, y1 = (float(download_rows(page)[0][name]) for name in ("x0", "y0", "x1", "y1"))
    changed = np.argwhere((plain != masked).any(axis=2)) * 512 / len(plain)  # rows and columns of the picture
    assert changed.min(axis=0) == pytest.approx([y0, x0], abs=2)
    assert changed.max(axis=0) == pytest.approx([y1, x1], abs=2)
