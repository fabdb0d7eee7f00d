"""Every kind of video becomes upright pictures with their true times; what is none says so in a sentence."""

from __future__ import annotations

import errno
import itertools
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.errors import VideoError
from mien.video.source import Frame, VideoSource
from tests.video import films
from tests.waiting import until

PICTURES = [films.face_at((10 + 20 * i, 40)) for i in range(5)]
UNEVEN_S = [0.0, 0.04, 0.3, 0.31, 1.0]


def frames_of(path: Path | str) -> list[Frame]:
    with VideoSource(path) as source:
        return list(source)


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two pictures are one, but for what a codec loses."""
    return a.shape == b.shape and float(np.abs(a.astype(int) - b.astype(int)).mean()) < 4


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("film.mp4", {}),
        ("film.mkv", {}),
        ("film.webm", {"codec": "libvpx-vp9"}),
        ("ten-bit.mkv", {"codec": "ffv1", "pix_fmt": "yuv420p10le"}),
        ("full-range.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("sound.mp4", {"sound": "aac"}),
    ],
)
def test_pictures_and_times_of_every_kind(tmp_path: Path, name: str, options: dict) -> None:
    frames = frames_of(films.write(tmp_path / name, PICTURES, **options))
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=1e-3)
    assert all(close(frame.image_rgb, picture) for frame, picture in zip(frames, PICTURES, strict=True))


def test_a_rate_that_varies(tmp_path: Path) -> None:
    frames = frames_of(films.write(tmp_path / "film.mkv", PICTURES, UNEVEN_S))
    assert [frame.time_s for frame in frames] == pytest.approx(UNEVEN_S, abs=1.1e-3)


def test_times_are_counted_from_the_first_picture(tmp_path: Path) -> None:
    frames = frames_of(films.write(tmp_path / "film.mkv", PICTURES, [5 + time_s for time_s in UNEVEN_S]))
    assert [frame.time_s for frame in frames] == pytest.approx(UNEVEN_S, abs=1.1e-3)


def test_a_stream_that_says_no_times(tmp_path: Path) -> None:
    films.write(tmp_path / "film.h264", PICTURES)
    times_s = [frame.time_s for frame in frames_of(tmp_path / "film.h264")]
    assert times_s == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=2e-3)


def test_a_telephones_video_stands_upright(tmp_path: Path) -> None:
    frames = frames_of(films.turn(films.write(tmp_path / "film.mp4", PICTURES)))
    assert len(frames) == 5
    assert all(close(frame.image_rgb, np.rot90(picture, -1)) for frame, picture in zip(frames, PICTURES, strict=True))


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    squeezed = [np.asarray(Image.fromarray(picture).resize((160, 240))) for picture in PICTURES]
    frames = frames_of(films.write(tmp_path / "film.mkv", squeezed, sample_aspect_ratio=2))
    assert all(close(frame.image_rgb, picture) for frame, picture in zip(frames, PICTURES, strict=True))


def test_the_shape_of_pixels_that_the_container_names_counts(tmp_path: Path) -> None:
    film = films.write(tmp_path / "film.mp4", PICTURES, sample_aspect_ratio=2)
    content = bytearray(film.read_bytes())
    pasp = content.index(b"pasp") + 4
    content[pasp : pasp + 8] = bytes([0, 0, 0, 1] * 2)  # the codec still says 2
    film.write_bytes(content)
    frames = frames_of(film)
    assert all(close(frame.image_rgb, picture) for frame, picture in zip(frames, PICTURES, strict=True))


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("height", [480, 720])
def test_colours_that_are_not_named_are_those_that_players_take(tmp_path: Path, height: int, named: bool) -> None:
    colour = np.array([200, 120, 90])
    red_share, blue_share = (0.2126, 0.0722) if height == 720 else (0.299, 0.114)  # BT.709-6; BT.601-7
    luma = colour @ [red_share, 1 - red_share - blue_share, blue_share]
    blue, red = ((colour[[2, 0]] - luma) / 2 / (1 - np.array([blue_share, red_share]))) * 224 / 255 + 128
    planes = [(luma * 219 / 255 + 16, (height, 640)), (blue, (height // 4, 640)), (red, (height // 4, 640))]
    frame = av.VideoFrame.from_ndarray(
        np.concatenate([np.full(shape, np.round(value), np.uint8) for value, shape in planes]), format="yuv420p"
    )
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=640, height=height, pix_fmt="yuv420p")
        if named:
            stream.codec_context.colorspace = 1 if height == 720 else 6
        container.mux([*stream.encode(frame), *stream.encode(None)])
    (seen,) = frames_of(tmp_path / "film.mkv")
    assert seen.image_rgb.reshape(-1, 3).mean(axis=0) == pytest.approx(colour, abs=2)


def test_one_picture(tmp_path: Path) -> None:
    (frame,) = frames_of(films.write(tmp_path / "film.mp4", PICTURES[:1]))
    assert (frame.number, frame.time_s) == (0, 0)


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    with VideoSource(films.write(tmp_path / "film.mp4", PICTURES, sound="aac"), sound=True) as source:
        assert source.frames_per_s == pytest.approx(25)
        assert source.duration_s == pytest.approx(0.2, abs=0.05)
        assert not source.ended
        list(source)
        assert source.ended
        assert source.sound_stream is not None
        assert sum(packet.duration * packet.time_base for packet in source.sound) == pytest.approx(0.24, abs=0.05)
    with VideoSource(tmp_path / "film.mp4") as source:
        list(source)
        assert source.sound_stream is None
        assert not source.sound


def test_who_leaves_early_leaves_no_thread(tmp_path: Path) -> None:
    path = films.write(tmp_path / "film.mp4", PICTURES * 40)
    before = set(threading.enumerate())
    with VideoSource(path) as source:
        for frame in source:
            if frame.number == 3:
                assert set(threading.enumerate()) - before
                break
    until(lambda: set(threading.enumerate()) <= before, "the thread that decodes to end")


def noise(n: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*films.SIZE, 3), dtype=np.uint8) for _ in range(n)]


def test_one_that_was_cut_off_gives_what_there_is_and_says_so(tmp_path: Path) -> None:
    whole = films.write(tmp_path / "film.mkv", noise(75))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    frames = []
    with (
        pytest.raises(VideoError, match=r"film\.mkv .*(ends|cannot be read on) after \d"),
        VideoSource(whole) as source,
    ):
        frames.extend(source)
    assert 15 < len(frames) < 35


def test_sound_that_goes_on_and_a_long_last_picture_are_no_damage(tmp_path: Path) -> None:
    for name in ("film.mp4", "film.mkv"):
        path = films.write(tmp_path / name, PICTURES, [0, 0.04, 0.08, 0.12, 5], sound="aac", sound_s=9)
        assert len(frames_of(path)) == 5


def test_one_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = films.write(tmp_path / "film.mkv", noise(150))
    with VideoSource(path) as source:
        frames = iter(source)
        numbers = [next(frames).number for _ in range(3)]
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        with pytest.raises(VideoError, match=r"film\.mkv .*after \d"):
            numbers.extend(frame.number for frame in frames)
    assert numbers == list(range(len(numbers)))
    assert 3 <= len(numbers) < 150


def test_two_recordings_in_one_go_on_after_each_other(tmp_path: Path) -> None:
    parts = [films.write(tmp_path / f"{i}.ts", PICTURES * 15) for i in range(2)]
    (tmp_path / "two.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    times_s = np.array([frame.time_s for frame in frames_of(tmp_path / "two.ts")])
    assert len(times_s) == 150
    assert np.diff(times_s) == pytest.approx(np.full(149, 0.04), abs=2e-3)


def test_an_end_that_cannot_be_is_not_waited_for(tmp_path: Path) -> None:
    film = films.write(tmp_path / "film.mkv", PICTURES)
    content, count = re.subn(rb"(\d\d:\d\d:)\d\d\.\d{3}", rb"\g<1>0.0.00", film.read_bytes())  # in its DURATION
    assert count
    film.write_bytes(content)
    assert len(frames_of(film)) == 5


def test_a_camera_without_a_picture_yet_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = VideoSource(films.write(tmp_path / "film.mp4", PICTURES))
    container, left_out = source._container, [True, True, False]

    class Camera:
        """As macOS has them."""

        close = container.close

        def demux(self, streams: object) -> Iterator[object]:
            if left_out.pop(0):
                raise av.error.BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            yield from container.demux(streams)

    monkeypatch.setattr(source, "_container", Camera())
    with source:
        assert len(list(source)) == 5
    assert not left_out


def test_an_error_of_any_kind_reaches_who_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: VideoSource, frame: object) -> np.ndarray:
        raise MemoryError("no room for a picture")

    monkeypatch.setattr(VideoSource, "_upright", fails)
    with pytest.raises(MemoryError, match="no room"):
        frames_of(films.write(tmp_path / "film.mp4", PICTURES))


def test_a_camera_that_is_taken_away_gives_what_it_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = VideoSource._decoded

    def taken_away(self: VideoSource, left: threading.Event) -> Iterator[object]:
        yield from itertools.islice(decoded(self, left), 3)
        raise av.error.OSError(errno.ENODEV, os.strerror(errno.ENODEV))  # as a camera's driver says it

    monkeypatch.setattr(VideoSource, "_decoded", taken_away)
    seen: list[int] = []
    with pytest.raises(VideoError, match=r"film.mp4 cannot be read on after 0\.1 s: no such device"):
        seen.extend(frame.number for frame in VideoSource(films.write(tmp_path / "film.mp4", PICTURES)))
    assert seen == [0, 1, 2]


def test_an_error_that_says_nothing_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: VideoSource, frame: object) -> np.ndarray:
        raise ValueError

    monkeypatch.setattr(VideoSource, "_upright", fails)
    with pytest.raises(VideoError, match=r"film\.mp4 cannot be read on before its first picture: valueerror"):
        frames_of(films.write(tmp_path / "film.mp4", PICTURES))


def test_names_with_a_colon_and_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    film = films.write(tmp_path / "film.mkv", PICTURES)
    for name in ("12:30 talk.mkv", "concat:a.mkv", "0"):
        (tmp_path / name).write_bytes(film.read_bytes())
        assert len(frames_of(name)) == 5


REFUSED = {
    "missing.mp4": (None, r"there is no video .*missing\.mp4; check the path$"),
    "empty.mp4": (b"", r"empty\.mp4 is empty; get it again$"),
    "text.mp4": (b"no video at all" * 99, r"text\.mp4 cannot be read as a video: invalid data"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_video(tmp_path: Path, name: str) -> None:
    content, sentence = REFUSED[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=sentence):
        VideoSource(tmp_path / name)


def test_a_folder_sound_alone_and_an_mp4_without_its_index(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"is a folder; name the video in it$"):
        VideoSource(tmp_path)
    with pytest.raises(
        VideoError, match=r"sound\.wav has sound alone that can be decoded: give a file with a video track$"
    ):
        VideoSource(films.write_sound(tmp_path / "sound.wav", "pcm_s16le", 0.5))
    path = films.write(tmp_path / "film.mp4", noise(30))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"film\.mp4 cannot be read as a video"):
        VideoSource(path)


def test_a_song_with_a_cover_is_no_video(tmp_path: Path) -> None:
    path = films.write_sound(tmp_path / "song.mp3", "libmp3lame", 0.5)
    cover = tmp_path / "cover.png"
    Image.fromarray(PICTURES[0]).save(cover)
    tagged = tmp_path / "tagged.mp3"
    picture = cover.read_bytes()
    body = b"\x00image/png\x00\x03\x00" + picture
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\x00\x00" + body
    size = len(frame)
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    sound = path.read_bytes()
    if sound[:3] == b"ID3":
        sound = sound[10 + int.from_bytes(sound[6:10], "big") :]
    tagged.write_bytes(b"ID3\x03\x00\x00" + synchsafe + frame + sound)
    with av.open(str(tagged)) as container:
        assert len(container.streams.video) == 1, "the test's file has no cover"
    with pytest.raises(VideoError, match="has sound alone"):
        VideoSource(tagged)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("63", "camera 63 cannot be opened .*: is it plugged in, free, and allowed"),
        ("http://127.0.0.1:9/film.mp4", "http://127.0.0.1:9/film.mp4 cannot be opened .*: check the address"),
    ],
)
def test_cameras_and_addresses_that_do_not_answer(source: str, sentence: str) -> None:
    with pytest.raises(VideoError, match=sentence) as caught:
        VideoSource(source)
    assert len(re.findall(r"[\r\n]", str(caught.value))) == 0
