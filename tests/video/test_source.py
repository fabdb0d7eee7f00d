"""Decoding of videos, streams and cameras: frames, times, orientation, colours and errors."""

from __future__ import annotations

import errno
import itertools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.errors import VideoError
from mien.video.source import Frame, VideoSource
from tests.video import samples
from tests.waiting import until

FRAMES = [samples.face_at((10 + 20 * i, 40)) for i in range(5)]
UNEVEN_S = [0.0, 0.04, 0.3, 0.31, 1.0]


def frames_of(path: Path | str) -> list[Frame]:
    with VideoSource(path) as source:
        return list(source)


def is_close(a: np.ndarray, b: np.ndarray) -> bool:
    """Returns whether two images are the same except for compression losses."""
    return a.shape == b.shape and float(np.abs(a.astype(int) - b.astype(int)).mean()) < 4


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("video.mp4", {}),
        ("video.mkv", {}),
        ("video.webm", {"codec": "libvpx-vp9"}),
        ("ten-bit.mkv", {"codec": "ffv1", "pix_fmt": "yuv420p10le"}),
        ("full-range.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("sound.mp4", {"sound": "aac"}),
    ],
)
def test_frames_and_times_of_every_container_and_codec(tmp_path: Path, name: str, options: dict) -> None:
    frames = frames_of(samples.write(tmp_path / name, FRAMES, **options))
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=1e-3)
    assert all(is_close(frame.image_rgb, image) for frame, image in zip(frames, FRAMES, strict=True))


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    frames = frames_of(samples.write(tmp_path / "video.mkv", FRAMES, UNEVEN_S))
    assert [frame.time_s for frame in frames] == pytest.approx(UNEVEN_S, abs=1.1e-3)


def test_times_start_at_the_first_frame(tmp_path: Path) -> None:
    frames = frames_of(samples.write(tmp_path / "video.mkv", FRAMES, [5 + time_s for time_s in UNEVEN_S]))
    assert [frame.time_s for frame in frames] == pytest.approx(UNEVEN_S, abs=1.1e-3)


def test_raw_stream_without_timestamps_has_evenly_spaced_times(tmp_path: Path) -> None:
    samples.write(tmp_path / "video.h264", FRAMES)
    times_s = [frame.time_s for frame in frames_of(tmp_path / "video.h264")]
    assert times_s == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=2e-3)


DISPLAYED = {
    (1, 0, 0, 1): lambda image: image,
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (0, 1, 1, 0): lambda image: image.swapaxes(0, 1),
    (0, -1, -1, 0): lambda image: np.rot90(image.swapaxes(0, 1), 2),
    (-0.999, 0.05, 0.05, 0.999): np.fliplr,
    (0, 2, -2, 0): lambda image: np.rot90(image, -1),
    (0, 0, 0, 0): lambda image: image,
}
"""Display matrix -> what a player shows: the eight quarter turns and mirrorings, a tilt, a scale and a damaged one."""


@pytest.mark.parametrize("matrix", DISPLAYED)
def test_video_is_turned_and_mirrored_by_its_display_matrix(tmp_path: Path, matrix: tuple) -> None:
    frames = frames_of(samples.set_display_matrix(samples.write(tmp_path / "video.mp4", FRAMES), matrix))
    assert len(frames) == 5
    shown = [DISPLAYED[matrix](image) for image in FRAMES]
    assert all(is_close(frame.image_rgb, image) for frame, image in zip(frames, shown, strict=True))


@pytest.mark.parametrize("codec", ["libx265", "libvpx-vp9"])
def test_rotated_and_mirrored_hevc_and_vp9_is_upright(tmp_path: Path, codec: str) -> None:
    for matrix in ((0, 1, -1, 0), (0, 1, 1, 0)):
        video = samples.write(tmp_path / "video.mp4", FRAMES, codec=codec)
        frames = frames_of(samples.set_display_matrix(video, matrix))
        shown = [DISPLAYED[matrix](image) for image in FRAMES]
        assert all(is_close(frame.image_rgb, image) for frame, image in zip(frames, shown, strict=True))


@pytest.mark.skipif(not hasattr(av.VideoStream, "set_display_rotation"), reason="PyAV before 18 cannot write it")
@pytest.mark.parametrize(("name", "codec"), [("video.webm", "libvpx-vp9"), ("video.mkv", "libx265")])
def test_rotated_matroska_is_upright(tmp_path: Path, name: str, codec: str) -> None:
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25, height=240, width=320, pix_fmt="yuv420p")
        stream.set_display_rotation(90)
        frame = av.VideoFrame.from_ndarray(FRAMES[0], format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    (seen,) = frames_of(tmp_path / name)
    assert is_close(seen.image_rgb, np.rot90(FRAMES[0], 1))


def test_video_with_non_square_pixels_is_stretched(tmp_path: Path) -> None:
    squeezed = [np.asarray(Image.fromarray(image).resize((160, 240))) for image in FRAMES]
    frames = frames_of(samples.write(tmp_path / "video.mkv", squeezed, sample_aspect_ratio=2))
    assert all(is_close(frame.image_rgb, image) for frame, image in zip(frames, FRAMES, strict=True))


def test_pixel_aspect_ratio_of_the_container_overrides_the_codec(tmp_path: Path) -> None:
    video = samples.write(tmp_path / "video.mp4", FRAMES, sample_aspect_ratio=2)
    content = bytearray(video.read_bytes())
    pasp = content.index(b"pasp") + 4
    content[pasp : pasp + 8] = bytes([0, 0, 0, 1] * 2)  # the codec still states 2
    video.write_bytes(content)
    frames = frames_of(video)
    assert all(is_close(frame.image_rgb, image) for frame, image in zip(frames, FRAMES, strict=True))


@pytest.mark.parametrize("specified", [True, False])
@pytest.mark.parametrize("height", [480, 720])
def test_unspecified_colours_depend_on_the_height_like_in_players(tmp_path: Path, height: int, specified: bool) -> None:
    colour = np.array([200, 120, 90])
    red_weight, blue_weight = (0.2126, 0.0722) if height == 720 else (0.299, 0.114)  # BT.709-6; BT.601-7
    luma = colour @ [red_weight, 1 - red_weight - blue_weight, blue_weight]
    blue, red = ((colour[[2, 0]] - luma) / 2 / (1 - np.array([blue_weight, red_weight]))) * 224 / 255 + 128
    planes = [(luma * 219 / 255 + 16, (height, 640)), (blue, (height // 4, 640)), (red, (height // 4, 640))]
    frame = av.VideoFrame.from_ndarray(
        np.concatenate([np.full(shape, np.round(value), np.uint8) for value, shape in planes]), format="yuv420p"
    )
    with av.open(str(tmp_path / "video.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=640, height=height, pix_fmt="yuv420p")
        if specified:
            stream.codec_context.colorspace = 1 if height == 720 else 6
        container.mux([*stream.encode(frame), *stream.encode(None)])
    (seen,) = frames_of(tmp_path / "video.mkv")
    assert seen.image_rgb.reshape(-1, 3).mean(axis=0) == pytest.approx(colour, abs=2)


def test_video_with_one_frame(tmp_path: Path) -> None:
    (frame,) = frames_of(samples.write(tmp_path / "video.mp4", FRAMES[:1]))
    assert (frame.number, frame.time_s) == (0, 0)


def test_attributes_of_a_source_with_and_without_sound(tmp_path: Path) -> None:
    with VideoSource(samples.write(tmp_path / "video.mp4", FRAMES, sound="aac"), sound=True) as source:
        assert source.frames_per_s == pytest.approx(25)
        assert source.duration_s == pytest.approx(0.2, abs=0.05)
        assert not source.ended
        list(source)
        assert source.ended
        assert source.sound_stream is not None
        assert sum(packet.duration * packet.time_base for packet in source.sound) == pytest.approx(0.24, abs=0.05)
    with VideoSource(tmp_path / "video.mp4") as source:
        list(source)
        assert source.sound_stream is None
        assert not source.sound


def test_breaking_out_of_the_iteration_ends_the_thread(tmp_path: Path) -> None:
    path = samples.write(tmp_path / "video.mp4", FRAMES * 40)
    before = set(threading.enumerate())
    with VideoSource(path) as source:
        for frame in source:
            if frame.number == 3:
                assert set(threading.enumerate()) - before
                break
    until(lambda: set(threading.enumerate()) <= before, "the decoding thread to end")


def noise(n: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*samples.SIZE, 3), dtype=np.uint8) for _ in range(n)]


def test_truncated_video_yields_its_frames_and_then_an_error(tmp_path: Path) -> None:
    path = samples.write(tmp_path / "video.mkv", noise(75))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    frames = []
    with (
        pytest.raises(VideoError, match=r"video\.mkv (ends|stopped) after \d"),
        VideoSource(path) as source,
    ):
        frames.extend(source)
    assert 15 < len(frames) < 35


def test_long_sound_and_a_long_last_frame_are_not_a_truncation(tmp_path: Path) -> None:
    for name in ("video.mp4", "video.mkv"):
        path = samples.write(tmp_path / name, FRAMES, [0, 0.04, 0.08, 0.12, 5], sound="aac", sound_s=9)
        assert len(frames_of(path)) == 5


def test_video_that_is_truncated_while_it_is_read(tmp_path: Path) -> None:
    path = samples.write(tmp_path / "video.mkv", noise(150))
    with VideoSource(path) as source:
        frames = iter(source)
        numbers = [next(frames).number for _ in range(3)]
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        with pytest.raises(VideoError, match=r"video\.mkv (ends|stopped) after \d"):
            numbers.extend(frame.number for frame in frames)
    assert numbers == list(range(len(numbers)))
    assert 3 <= len(numbers) < 150


def test_times_of_two_concatenated_recordings_continue(tmp_path: Path) -> None:
    parts = [samples.write(tmp_path / f"{i}.ts", FRAMES * 15) for i in range(2)]
    (tmp_path / "two.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    times_s = np.array([frame.time_s for frame in frames_of(tmp_path / "two.ts")])
    assert len(times_s) == 150
    assert np.diff(times_s) == pytest.approx(np.full(149, 0.04), abs=2e-3)


def test_invalid_duration_is_ignored(tmp_path: Path) -> None:
    video = samples.write(tmp_path / "video.mkv", FRAMES)
    content, count = re.subn(rb"(\d\d:\d\d:)\d\d\.\d{3}", rb"\g<1>0.0.00", video.read_bytes())  # in its DURATION
    assert count
    video.write_bytes(content)
    assert len(frames_of(video)) == 5


def test_camera_without_a_frame_yet_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = VideoSource(samples.write(tmp_path / "video.mp4", FRAMES))
    container, no_frame_yet = source._container, [True, True, False]

    class Camera:
        """A camera as on macOS."""

        close = container.close

        def demux(self, streams: object) -> Iterator[object]:
            if no_frame_yet.pop(0):
                raise av.error.BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            yield from container.demux(streams)

    monkeypatch.setattr(source, "_container", Camera())
    with source:
        assert len(list(source)) == 5
    assert not no_frame_yet


def test_unexpected_error_of_the_thread_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: VideoSource, frame: object) -> np.ndarray:
        raise MemoryError("no memory for a frame")

    monkeypatch.setattr(VideoSource, "_upright", fails)
    with pytest.raises(MemoryError, match="no memory"):
        frames_of(samples.write(tmp_path / "video.mp4", FRAMES))


def test_disconnected_camera_yields_frames_and_then_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = VideoSource._decoded_frames

    def disconnected(self: VideoSource, cancelled: threading.Event) -> Iterator[object]:
        yield from itertools.islice(decoded(self, cancelled), 3)
        raise av.error.OSError(errno.ENODEV, os.strerror(errno.ENODEV))  # as the driver of a camera reports it

    monkeypatch.setattr(VideoSource, "_decoded_frames", disconnected)
    seen: list[int] = []
    with pytest.raises(VideoError, match=r"reading .*video\.mp4 stopped after 0\.1 s: no such device"):
        seen.extend(frame.number for frame in VideoSource(samples.write(tmp_path / "video.mp4", FRAMES)))
    assert seen == [0, 1, 2]


def test_error_without_a_text_is_reported_by_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: VideoSource, frame: object) -> np.ndarray:
        raise ValueError

    monkeypatch.setattr(VideoSource, "_upright", fails)
    with pytest.raises(VideoError, match=r"video\.mp4 stopped before the first frame: valueerror"):
        frames_of(samples.write(tmp_path / "video.mp4", FRAMES))


def test_file_names_that_look_like_a_protocol_or_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    video = samples.write(tmp_path / "video.mkv", FRAMES)
    for name in ("12:30 talk.mkv", "concat:a.mkv", "0"):
        (tmp_path / name).write_bytes(video.read_bytes())
        assert len(frames_of(name)) == 5


UNREADABLE = {
    "missing.mp4": (None, r"there is no video .*missing\.mp4; check the path$"),
    "empty.mp4": (b"", r"empty\.mp4 is an empty file; download or copy it again$"),
    "text.mp4": (b"not a video" * 99, r"text\.mp4 cannot be read as a video: invalid data"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_file_that_is_not_a_video_is_an_error(tmp_path: Path, name: str) -> None:
    content, sentence = UNREADABLE[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=sentence):
        VideoSource(tmp_path / name)


def test_folder_sound_file_and_mp4_without_index_are_errors(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"is a folder; give the path of a video in it$"):
        VideoSource(tmp_path)
    with pytest.raises(
        VideoError, match=r"sound\.wav has only sound that can be decoded; give a file with a video stream$"
    ):
        VideoSource(samples.write_sound(tmp_path / "sound.wav", "pcm_s16le", 0.5))
    path = samples.write(tmp_path / "video.mp4", noise(30))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"video\.mp4 cannot be read as a video"):
        VideoSource(path)


def test_song_with_a_cover_image_is_an_error(tmp_path: Path) -> None:
    path = samples.write_sound(tmp_path / "song.mp3", "libmp3lame", 0.5)
    cover = tmp_path / "cover.png"
    Image.fromarray(FRAMES[0]).save(cover)
    tagged = tmp_path / "tagged.mp3"
    image = cover.read_bytes()
    body = b"\x00image/png\x00\x03\x00" + image
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\x00\x00" + body
    size = len(frame)
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    sound = path.read_bytes()
    if sound[:3] == b"ID3":
        sound = sound[10 + int.from_bytes(sound[6:10], "big") :]
    tagged.write_bytes(b"ID3\x03\x00\x00" + synchsafe + frame + sound)
    with av.open(str(tagged)) as container:
        assert len(container.streams.video) == 1, "the file has no cover image"
    with pytest.raises(VideoError, match="has only sound"):
        VideoSource(tagged)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("63", "camera 63 cannot be opened .*: check that it is connected"),
        ("http://127.0.0.1:9/video.mp4", "http://127.0.0.1:9/video.mp4 cannot be opened .*: check the address"),
    ],
)
def test_missing_camera_and_unreachable_address_are_errors(source: str, sentence: str) -> None:
    with pytest.raises(VideoError, match=sentence) as caught:
        VideoSource(source)
    assert len(re.findall(r"[\r\n]", str(caught.value))) == 0


def test_pipe_and_device_are_errors_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):
        with pytest.raises(VideoError, match=r"(pipe\.mp4|zero) is a pipe, a device or a socket: give a file"):
            VideoSource(path)


def test_message_repeats_at_most_80_characters_of_a_name() -> None:
    for name in ("x" * 10_000, "9" * 10_000, "http://127.0.0.1:9/" + "x" * 10_000, "a\0" + "x" * 10_000):
        with pytest.raises(VideoError) as caught:
            VideoSource(name)
        assert len(str(caught.value)) < 350


def test_standard_input_is_a_video(tmp_path: Path) -> None:
    path = samples.write(tmp_path / "video.mkv", FRAMES)
    code = "from mien.video.source import VideoSource\nwith VideoSource('-') as source: print(len(list(source)))"
    with path.open("rb") as video:
        done = subprocess.run([sys.executable, "-c", code], stdin=video, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"5\n"), done.stderr
    with (tmp_path / "empty").open("wb+") as empty:
        done = subprocess.run([sys.executable, "-c", code], stdin=empty, capture_output=True, check=False)
    assert b"VideoError: standard input cannot be read as a video: " in done.stderr
