"""The annotated copy of a video: boxes, times, sound, colours and sizes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from mien.video.source import VideoSource
from tests.video import samples
from tests.video.command import read_csv, run


def test_copy_shows_a_box_and_has_the_same_sound(outputs_folder: Path, video: Path) -> None:
    with VideoSource(video) as source, VideoSource(outputs_folder / "copy.mp4") as copied:
        for number, (frame, copy) in enumerate(zip(source, copied, strict=True)):
            box = read_csv(outputs_folder / "faces.csv")[number]
            changed = np.abs(frame.image_rgb.astype(int) - copy.image_rgb).max(axis=2) > 60
            x0, y0, y1 = (round(float(box[name])) for name in ("x0", "y0", "y1"))
            edge = changed[y0 + 5 : y1 - 5, max(0, x0 - 2) : max(0, x0) + 4]
            assert edge.any(axis=1).mean() > 0.8, f"no left edge of a box in frame {number}"
    assert sound_samples(outputs_folder / "copy.mp4") == pytest.approx(sound_samples(video), abs=1e-6)


def sound_samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def test_unsupported_sound_is_encoded_as_aac(tmp_path: Path) -> None:
    video = samples.write(tmp_path / "video.mkv", samples.WALK, sound="pcm_u8")
    assert run(video, "-o", tmp_path / "copy.mp4").returncode == 0
    tone = sound_samples(tmp_path / "copy.mp4")[0]
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    assert spectrum.argmax() * 48000 / len(tone) == pytest.approx(440, abs=3)
    assert len(tone) / 48000 == pytest.approx(1.04, abs=0.1)


@pytest.mark.parametrize(
    ("name", "sound", "rate"),
    [("video.ts", "aac", 48000), ("video.avi", "pcm_s16le", 11024), ("video.mkv", "pcm_u8", 48000)],
)
def test_reencoded_sound_keeps_its_times(tmp_path: Path, name: str, sound: str, rate: int) -> None:
    video = samples.write(tmp_path / name, samples.WALK, sound=sound, sound_rate=rate, sound_from_s=0.5)
    done = run(video, "-o", tmp_path / "copy.mp4")
    assert done.returncode == 0, done.stderr
    with av.open(str(video)) as before, av.open(str(tmp_path / "copy.mp4")) as after:
        starts = []
        for container in (before, after):
            frames = next(container.decode(video=0)).time
            container.seek(0)
            starts.append(next(container.decode(audio=0)).time - frames)
    assert starts[1] == pytest.approx(starts[0], abs=0.06)
    if name != "video.avi":  # AVI fills the time before the sound with silence
        assert starts[1] > 0.4


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("mono", 48000), ("stereo", 48000)),
        (("stereo", 48000), ("mono", 48000)),
        (("stereo", 44100), ("stereo", 48000)),
    ],
    ids=["to-stereo", "to-mono", "another-rate"],
)
@pytest.mark.parametrize("gap_s", [0.0, 1.0])
def test_sound_that_changes_its_format_is_continuous(
    tmp_path: Path, before: tuple[str, int], after: tuple[str, int], gap_s: float
) -> None:
    """As in broadcasts."""
    parts = []
    for (layout, rate), from_s in ((before, 0.0), (after, 1.04 + gap_s)):
        times_s, path = [from_s + 0.04 * i for i in range(25)], tmp_path / f"{from_s}.ts"
        sound = {"sound": "aac", "sound_layout": layout, "sound_rate": rate, "sound_from_s": from_s}
        parts.append(samples.write(path, samples.WALK, times_s, **sound))
    (tmp_path / "video.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    done = run(tmp_path / "video.ts", "-o", tmp_path / "copy.mp4", "--jsonl", tmp_path / "faces.jsonl")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 50
    with av.open(str(tmp_path / "copy.mp4")) as container:
        copied_rate = container.streams.audio[0].rate
        blocks = [(frame.time, frame.to_ndarray()) for frame in container.decode(audio=0)]
    loud_s = [time_s for time_s, block in blocks if np.abs(block).max() > 0.1]
    assert loud_s[-1] == pytest.approx(1.94 + gap_s, abs=0.06)  # the start of the last block, as in the video
    assert max(np.diff(loud_s)) == pytest.approx(gap_s, abs=0.12)
    for half in (blocks[: len(blocks) // 2], blocks[len(blocks) // 2 :]):
        tone = np.concatenate([block[0] for _, block in half])
        spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
        assert spectrum.argmax() * copied_rate / len(tone) == pytest.approx(440, rel=0.01)


@pytest.mark.parametrize(
    ("sound", "name", "kept"), [("flac", "copy.mov", "aac"), ("flac", "copy.mp4", "flac"), ("mp2", "copy.mkv", "mp2")]
)
def test_sound_is_copied_if_the_container_supports_it(tmp_path: Path, sound: str, name: str, kept: str) -> None:
    video = samples.write(tmp_path / "video.mkv", samples.WALK[:10], sound=sound)
    done = run(video, "-o", tmp_path / name)
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.audio[0].codec_context.name.removesuffix("float") == kept


def test_damaged_packet_of_sound_is_skipped(tmp_path: Path) -> None:
    video = samples.write(tmp_path / "video.mkv", samples.WALK, sound="flac")
    with av.open(str(video)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    damaged = video.read_bytes()
    for packet in packets[3:5]:
        damaged = damaged.replace(packet, bytes(len(packet)))
    video.write_bytes(damaged)
    done = run(video, "-o", tmp_path / "copy.mov", "--csv", tmp_path / "faces.csv")
    assert done.returncode == 0, done.stderr
    assert len(read_csv(tmp_path / "faces.csv")) == 25
    with av.open(str(tmp_path / "copy.mov")) as container:
        assert (
            container.streams.audio[0].codec_context.name == "aac"
        )  # re-encoded, because a copy would not decode the packets
    assert len(sound_samples(tmp_path / "copy.mov")[0]) > 20_000


@pytest.mark.parametrize("sound", ["mp2", "aac"])  # copied, and re-encoded
def test_copy_of_two_concatenated_recordings(tmp_path: Path, sound: str) -> None:
    parts = [samples.write(tmp_path / f"{i}.ts", samples.WALK, sound=sound) for i in range(2)]
    (tmp_path / "two.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    for name in ("copy.mkv", "copy.mp4"):
        done = run(tmp_path / "two.ts", "-o", tmp_path / name, "--jsonl", tmp_path / "faces.jsonl")
        assert done.returncode == 0, done.stderr
        with VideoSource(tmp_path / name) as source:
            assert len(list(source)) == 50
        assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 50


@pytest.mark.parametrize("name", ["copy.mp4", "copy.mkv"])
def test_copy_has_the_same_colours_and_specifies_them(tmp_path: Path, name: str) -> None:
    colours = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 90)])
    image = np.repeat(np.tile(colours.astype(np.uint8), (240, 1, 1)), 80, axis=1)
    video = samples.write(tmp_path / "video.mkv", [image] * 3, codec="ffv1", pix_fmt="bgr0")
    assert run(video, "-o", tmp_path / name).returncode == 0
    with av.open(str(tmp_path / name)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
        planes = next(container.decode(video=0)).to_ndarray().astype(float)
    luma = (planes[120, 40::80] - 16) / 219
    blue, red = ((planes[240 + 60 * i : 300 + 60 * i].reshape(120, 160)[60, 20::40] - 128) / 224 for i in range(2))
    blue, red = luma + 1.8556 * blue, luma + 1.5748 * red  # BT.709-6, 3.2 and 3.4
    green = (luma - 0.2126 * red - 0.0722 * blue) / 0.7152
    assert np.stack([red, green, blue], axis=1) * 255 == pytest.approx(colours, abs=5)


def test_copy_of_frames_with_odd_sides_is_cropped(tmp_path: Path) -> None:
    video = samples.write(tmp_path / "video.mkv", [image[:239, :319] for image in samples.WALK], codec="ffv1")
    assert run(video, "-o", tmp_path / "copy.mp4").returncode == 0
    with VideoSource(tmp_path / "copy.mp4") as source:
        assert {frame.image_rgb.shape for frame in source} == {(238, 318, 3)}


def test_copy_of_frames_that_change_their_size_keeps_the_first_size(tmp_path: Path) -> None:
    small = [image[:200, :300] for image in samples.WALK]
    parts = [samples.write(tmp_path / f"{i}.h264", frames) for i, frames in enumerate((samples.WALK, small))]
    video = tmp_path / "video.h264"
    video.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert run(video, "-o", tmp_path / "copy.mp4", "--jsonl", tmp_path / "faces.jsonl").returncode == 0
    with VideoSource(video) as source:
        assert {frame.image_rgb.shape[:2] for frame in source} == {samples.SIZE, (200, 300)}
    with VideoSource(tmp_path / "copy.mp4") as source:
        assert [frame.image_rgb.shape[:2] for frame in source] == [samples.SIZE] * 50
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 50
