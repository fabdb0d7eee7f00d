"""Films on the page compared with `mien video`: following faces changes no more than smoothing hides."""

import base64
import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from mien.detection.boxes import iou
from mien.labels import EXPRESSIONS
from mien.video.recognizer import VideoFrame, VideoRecognizer

RECOGNISE = """async (contents) => {
    const { BrowserEngine } = await importModule("browser.js");
    const { Host } = await importModule("host.js");
    const { Tracks } = await importModule("tracks.js");
    const model = { name: "small", file: "models/small.onnx" };
    const engine = await BrowserEngine.open(model, new Host("models.json", null));
    const tracks = new Tracks(0.5);
    const frames = [];
    for (const [i, content] of contents.entries()) {
        const bitmap = await createImageBitmap(new Blob([toBytes(content)]));
        const { frame, faces } = await engine.recogniseFrame(bitmap, i === 0);
        frame.close();
        frames.push(tracks.update(faces, i / 30).map(({ box, probabilities, expression }) => (
            { box, probabilities, expression }
        )));
        await new Promise((resolve) => setTimeout(resolve, 33)); // as fast as a film, so that searches take part
    }
    engine.close();
    return frames;
}"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "faces"), [("single_face.mp4", 1), ("WolfgangLanger_Pexels.mp4", 1), ("WolfgangLanger_Pexels.mp4", 4)]
)
def test_followed_faces_are_those_of_mien_video(
    site_page: Page, photographs: Path, name: str, faces: int, tmp_path: Path
) -> None:
    images = read_frames(photographs / name, 60 if faces == 1 else 120)
    if faces == 4:
        images = [side_by_side(images[i : i + 61 : 20]) for i in range(60)]
    answers = site_page.evaluate(RECOGNISE, [to_jpeg(image) for image in images])
    expected = recognize_in_python(images, tmp_path / "film.mkv")
    overlaps, differences, agreements = compare(answers, expected)
    assert len(overlaps) >= 0.95 * sum(len(frame.faces) for frame in expected)
    assert np.mean(overlaps) > 0.9
    assert np.min(overlaps) > 0.75
    assert np.mean(differences) < 0.03
    assert np.mean(agreements) > 0.95


def compare(answers: list[Any], expected: list[VideoFrame]) -> tuple[list[float], list[float], list[bool]]:
    """Compares the faces of each frame: overlaps, differences of smoothed probabilities, and equal expressions."""
    overlaps, differences, agreements = [], [], []
    for answer, frame in zip(answers, expected, strict=True):
        for face in frame.faces:
            ious = [float(iou(np.array([each["box"]]), np.array(face.face.box.xyxy))[0]) for each in answer]
            if not ious or max(ious) < 0.3:
                continue
            same = answer[int(np.argmax(ious))]
            overlaps.append(max(ious))
            steady = face.steady.probabilities
            differences.append(
                float(np.mean([abs(same["probabilities"][each] - steady[each]) for each in EXPRESSIONS]))
            )
            agreements.append(same["expression"] == face.steady.name)
    return overlaps, differences, agreements


def read_frames(path: Path, count: int) -> list[Image.Image]:
    """The first frames of a film, at most 640 pixels wide."""
    images = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            image = frame.to_image()
            image.thumbnail((640, 640))
            images.append(image)
            if len(images) == count:
                break
    return images


def side_by_side(images: list[Image.Image]) -> Image.Image:
    """Four images in one, each half as wide and high."""
    width, height = images[0].width // 2, images[0].height // 2
    image = Image.new("RGB", (2 * width, 2 * height))
    for i, each in enumerate(images):
        image.paste(each.resize((width, height)), (i % 2 * width, i // 2 * height))
    return image


def to_jpeg(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95)
    return base64.b64encode(stream.getvalue()).decode()


def recognize_in_python(images: list[Image.Image], path: Path) -> list[VideoFrame]:
    """The frames as `mien video` recognises them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30, width=images[0].width, height=images[0].height)
        stream.pix_fmt = "bgr0"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return list(VideoRecognizer(threads=1)(path))
