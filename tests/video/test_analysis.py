"""What `mien video` leaves behind: the same facts in every file, and whole files however it ends."""

from __future__ import annotations

import csv
import errno
import http.server
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from mien.errors import ConfigError, VideoError
from mien.labels import EXPRESSIONS
from mien.video import analysis as videos
from mien.video import outputs as video_outputs
from mien.video.analysis import Wanted, recognize
from mien.video.recognizer import VideoRecognizer
from mien.video.source import VideoSource
from mien.video.timeline import Timeline
from tests.conftest import Mien
from tests.video import films
from tests.waiting import LONG_S

WALK = [films.face_at((10 + 4 * i, 60)) for i in range(25)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("video")


@pytest.fixture(scope="module")
def film(folder: Path) -> Path:
    """A face for a second at an uneven rate, with a tone."""
    times_s = [0.04 * i + (0.02 if i % 2 else 0) for i in range(25)]
    return films.write(folder / "film.mp4", WALK, times_s, sound="aac")


@pytest.fixture(scope="module")
def left(folder: Path, film: Path) -> Path:
    """The folder after `mien video` has left everything that it can."""
    names = {"-o": "copy.mp4", "--csv": "faces.csv", "--jsonl": "faces.jsonl", "--parquet": "faces.parquet"}
    done = run(film, *(part for option, name in names.items() for part in (option, folder / name)))
    assert done.returncode == 0, done.stderr
    assert "happy" in done.stdout
    assert all(f"written: {folder / name}" in done.stdout for name in names.values())
    return folder


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mien", "video", *map(str, arguments), "--threads", "1"]


def run(*arguments: object, limit: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, preexec_fn=limit, check=False, timeout=5 * LONG_S
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_line_a_face(left: Path) -> None:
    rows = read_csv(left / "faces.csv")
    assert [int(row["frame"]) for row in rows] == list(range(25))
    assert {row["track"] for row in rows} == {"1"}
    assert {row["uncertain"] for row in rows} <= {"true", "false"}
    for row in rows:
        steady = [float(row[name]) for name in EXPRESSIONS]
        raw = [float(row[f"raw_{name}"]) for name in EXPRESSIONS]
        assert sum(steady) == pytest.approx(1, abs=1e-5)
        assert sum(raw) == pytest.approx(1, abs=1e-5)
        assert float(row["confidence"]) == float(row[row["expression"]])
    assert any(row["happy"] != row["raw_happy"] for row in rows)


def test_times_are_the_films_own(left: Path, film: Path) -> None:
    with VideoSource(film) as source:
        times_s = [frame.time_s for frame in source]
    assert np.ptp(np.diff(times_s)) > 0.03
    assert [float(row["time_s"]) for row in read_csv(left / "faces.csv")] == pytest.approx(times_s, abs=1e-4)
    assert list(parquet.read_table(left / "faces.parquet")["time_s"].to_pylist()) == pytest.approx(times_s, abs=1e-4)
    with VideoSource(left / "copy.mp4") as source:
        assert [frame.time_s for frame in source] == pytest.approx(times_s, abs=1e-4)


def test_every_table_says_the_same(left: Path) -> None:
    rows = read_csv(left / "faces.csv")
    table = parquet.read_table(left / "faces.parquet").to_pylist()
    lines = [json.loads(line) for line in (left / "faces.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(25))
    assert len(rows) == len(table) == 25
    for row, stored, line in zip(rows, table, lines, strict=True):
        (face,) = line["faces"]
        assert row["expression"] == stored["expression"] == face["expression"]
        assert (row["uncertain"] == "true") is stored["uncertain"] is face["uncertain"]
        assert stored["track"] == face["track"] == 1
        for name in EXPRESSIONS:
            assert float(row[name]) == face["probabilities"][name] == pytest.approx(stored[name], abs=1e-6)
            assert float(row[f"raw_{name}"]) == face["raw_probabilities"][name]


def test_the_copy_shows_a_box_and_keeps_the_sound(left: Path, film: Path) -> None:
    with VideoSource(film) as source, VideoSource(left / "copy.mp4") as copied:
        for number, (frame, copy) in enumerate(zip(source, copied, strict=True)):
            box = read_csv(left / "faces.csv")[number]
            changed = np.abs(frame.image_rgb.astype(int) - copy.image_rgb).max(axis=2) > 60
            x0, y0, y1 = (round(float(box[name])) for name in ("x0", "y0", "y1"))
            edge = changed[y0 + 5 : y1 - 5, max(0, x0 - 2) : max(0, x0) + 4]
            assert edge.any(axis=1).mean() > 0.8, f"no left edge of a box in picture {number}"
    assert samples(left / "copy.mp4") == pytest.approx(samples(film), abs=1e-6)


def samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def test_sound_that_the_container_cannot_hold_is_encoded(tmp_path: Path) -> None:
    film = films.write(tmp_path / "film.mkv", WALK, sound="pcm_u8")
    assert run(film, "-o", tmp_path / "copy.mp4").returncode == 0
    tone = samples(tmp_path / "copy.mp4")[0]
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    assert spectrum.argmax() * 48000 / len(tone) == pytest.approx(440, abs=3)
    assert len(tone) / 48000 == pytest.approx(1.04, abs=0.1)


@pytest.mark.parametrize(
    ("name", "sound", "rate"),
    [("film.ts", "aac", 48000), ("film.avi", "pcm_s16le", 11024), ("film.mkv", "pcm_u8", 48000)],
)
def test_sound_that_is_encoded_anew_keeps_its_times(tmp_path: Path, name: str, sound: str, rate: int) -> None:
    film = films.write(tmp_path / name, WALK, sound=sound, sound_rate=rate, sound_from_s=0.5)
    done = run(film, "-o", tmp_path / "copy.mp4")
    assert done.returncode == 0, done.stderr
    with av.open(str(film)) as before, av.open(str(tmp_path / "copy.mp4")) as after:
        starts = []
        for container in (before, after):
            pictures = next(container.decode(video=0)).time
            container.seek(0)
            starts.append(next(container.decode(audio=0)).time - pictures)
    assert starts[1] == pytest.approx(starts[0], abs=0.06)
    if name != "film.avi":  # which fills the time before its sound with silence
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
def test_sound_that_changes_its_form_on_the_way(
    tmp_path: Path, before: tuple[str, int], after: tuple[str, int], gap_s: float
) -> None:
    """As broadcasts have it; the pictures and the sound go on, at their times."""
    parts = []
    for (layout, rate), from_s in ((before, 0.0), (after, 1.04 + gap_s)):
        times_s, path = [from_s + 0.04 * i for i in range(25)], tmp_path / f"{from_s}.ts"
        sound = {"sound": "aac", "sound_layout": layout, "sound_rate": rate, "sound_from_s": from_s}
        parts.append(films.write(path, WALK, times_s, **sound))
    (tmp_path / "film.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    done = run(tmp_path / "film.ts", "-o", tmp_path / "copy.mp4", "--jsonl", tmp_path / "faces.jsonl")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 50
    with av.open(str(tmp_path / "copy.mp4")) as container:
        copied_rate = container.streams.audio[0].rate
        blocks = [(frame.time, frame.to_ndarray()) for frame in container.decode(audio=0)]
    loud_s = [time_s for time_s, block in blocks if np.abs(block).max() > 0.1]
    assert loud_s[-1] == pytest.approx(1.94 + gap_s, abs=0.06)  # where the last block begins, as in the film
    assert max(np.diff(loud_s)) == pytest.approx(gap_s, abs=0.12)
    for half in (blocks[: len(blocks) // 2], blocks[len(blocks) // 2 :]):
        tone = np.concatenate([block[0] for _, block in half])
        spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
        assert spectrum.argmax() * copied_rate / len(tone) == pytest.approx(440, rel=0.01)


@pytest.mark.parametrize(
    ("sound", "name", "kept"), [("flac", "copy.mov", "aac"), ("flac", "copy.mp4", "flac"), ("mp2", "copy.mkv", "mp2")]
)
def test_sound_is_copied_where_it_can_be(tmp_path: Path, sound: str, name: str, kept: str) -> None:
    film = films.write(tmp_path / "film.mkv", WALK[:10], sound=sound)
    done = run(film, "-o", tmp_path / name)
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.audio[0].codec_context.name.removesuffix("float") == kept


def test_a_damaged_packet_of_sound_costs_that_sound_alone(tmp_path: Path) -> None:
    film = films.write(tmp_path / "film.mkv", WALK, sound="flac")
    with av.open(str(film)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    damaged = film.read_bytes()
    for packet in packets[3:5]:
        damaged = damaged.replace(packet, bytes(len(packet)))
    film.write_bytes(damaged)
    done = run(film, "-o", tmp_path / "copy.mov", "--csv", tmp_path / "faces.csv")
    assert done.returncode == 0, done.stderr
    assert len(read_csv(tmp_path / "faces.csv")) == 25
    with av.open(str(tmp_path / "copy.mov")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"  # not copied, or this would test nothing
    assert len(samples(tmp_path / "copy.mov")[0]) > 20_000


@pytest.mark.parametrize("sound", ["mp2", "aac"])  # copied, and encoded anew
def test_two_recordings_in_one(tmp_path: Path, sound: str) -> None:
    parts = [films.write(tmp_path / f"{i}.ts", WALK, sound=sound) for i in range(2)]
    (tmp_path / "two.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    for name in ("copy.mkv", "copy.mp4"):
        done = run(tmp_path / "two.ts", "-o", tmp_path / name, "--jsonl", tmp_path / "faces.jsonl")
        assert done.returncode == 0, done.stderr
        with VideoSource(tmp_path / name) as source:
            assert len(list(source)) == 50
        assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 50


@pytest.mark.parametrize("name", ["copy.mp4", "copy.mkv"])
def test_the_copys_colours_are_the_films_and_named(tmp_path: Path, name: str) -> None:
    """Unnamed, players take those of a large video to be BT.709, whatever they are."""
    colours = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 90)])
    picture = np.repeat(np.tile(colours.astype(np.uint8), (240, 1, 1)), 80, axis=1)
    film = films.write(tmp_path / "film.mkv", [picture] * 3, codec="ffv1", pix_fmt="bgr0")
    assert run(film, "-o", tmp_path / name).returncode == 0
    with av.open(str(tmp_path / name)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
        planes = next(container.decode(video=0)).to_ndarray().astype(float)
    luma = (planes[120, 40::80] - 16) / 219
    blue, red = ((planes[240 + 60 * i : 300 + 60 * i].reshape(120, 160)[60, 20::40] - 128) / 224 for i in range(2))
    blue, red = luma + 1.8556 * blue, luma + 1.5748 * red  # BT.709-6, 3.2 and 3.4
    green = (luma - 0.2126 * red - 0.0722 * blue) / 0.7152
    assert np.stack([red, green, blue], axis=1) * 255 == pytest.approx(colours, abs=5)


def test_a_picture_of_odd_size(tmp_path: Path) -> None:
    film = films.write(tmp_path / "film.mkv", [picture[:239, :319] for picture in WALK], codec="ffv1")
    assert run(film, "-o", tmp_path / "copy.mp4").returncode == 0
    with VideoSource(tmp_path / "copy.mp4") as source:
        assert {frame.image_rgb.shape for frame in source} == {(238, 318, 3)}


def test_pictures_that_change_their_size_on_the_way(tmp_path: Path) -> None:
    small = [picture[:200, :300] for picture in WALK]
    parts = [films.write(tmp_path / f"{i}.h264", pictures) for i, pictures in enumerate((WALK, small))]
    film = tmp_path / "film.h264"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert run(film, "-o", tmp_path / "copy.mp4", "--jsonl", tmp_path / "faces.jsonl").returncode == 0
    with VideoSource(film) as source:
        assert {frame.image_rgb.shape[:2] for frame in source} == {films.SIZE, (200, 300)}
    with VideoSource(tmp_path / "copy.mp4") as source:
        assert [frame.image_rgb.shape[:2] for frame in source] == [films.SIZE] * 50
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 50


def test_a_film_without_a_face(tmp_path: Path) -> None:
    film = films.write(tmp_path / "film.mp4", [films.face_at()] * 10)
    done = run(
        film, "--csv", tmp_path / "faces.csv", "--jsonl", tmp_path / "faces.jsonl", "--parquet", tmp_path / "f.parquet"
    )
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "no face")
    assert read_csv(tmp_path / "faces.csv") == []
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 10
    assert parquet.read_table(tmp_path / "f.parquet").num_rows == 0


def test_lines_on_the_standard_output_are_nothing_but_lines(film: Path) -> None:
    done = run(film, "--jsonl", "-")
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == list(range(25))
    assert "happy" in done.stderr
    done = run(film, "--csv", "-")
    assert len(done.stdout.splitlines()) == 26


def test_it_can_be_stopped_while_an_address_is_silent(tmp_path: Path) -> None:
    film = films.write(tmp_path / "film.ts", WALK * 4).read_bytes()
    done = threading.Event()

    class HalfOfIt(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(film)))
            self.end_headers()
            self.wfile.write(film[: len(film) // 2])
            done.wait()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HalfOfIt) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        process = subprocess.Popen(
            command(f"http://127.0.0.1:{server.server_port}/film.ts", "--csv", tmp_path / "faces.csv", "--jsonl", "-"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # what is read ahead would be lost to communicate()
        )
        assert process.stdout is not None
        lines: list[bytes] = []
        try:
            # It waits once all that it could read is told: nothing may be left in the pipe that it could wait for.
            while select.select([process.stdout], [], [], 3 if lines else LONG_S)[0]:
                lines.append(process.stdout.readline())
                assert lines[-1], "it ended by itself"
            process.send_signal(signal.SIGINT)
            printed, said = process.communicate(timeout=30)  # FFmpeg itself gives the address up after a minute
        finally:
            process.kill()
            done.set()
            server.shutdown()
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert len(lines) >= 20
    pictures = [json.loads(line) for line in (*lines, *printed.splitlines())]
    assert [picture["frame"] for picture in pictures] == list(range(len(pictures)))
    seen = [picture["frame"] for picture in pictures if picture["faces"]]
    assert [int(row["frame"]) for row in read_csv(tmp_path / "faces.csv")] == seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_person_who_stops_it_keeps_what_was_done(tmp_path: Path, number: int) -> None:
    film = films.write(tmp_path / "film.mp4", WALK * 80, sound="aac")
    wanted = ["-o", tmp_path / "copy.mp4", "--csv", tmp_path / "faces.csv", "--parquet", tmp_path / "faces.parquet"]
    process = subprocess.Popen(
        command(film, *wanted, "--jsonl", "-"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    for _ in range(30):
        assert process.stdout.readline()
    process.send_signal(number)
    printed, said = process.communicate(timeout=LONG_S)
    assert process.returncode == 130
    assert b"stopped after 0:0" in said
    assert b"Traceback" not in said
    rows = read_csv(tmp_path / "faces.csv")
    done = 30 + len(printed.splitlines())
    assert 30 <= done < 2000
    assert int(rows[-1]["frame"]) == done - 1
    assert parquet.read_table(tmp_path / "faces.parquet").num_rows == len(rows)
    with VideoSource(tmp_path / "copy.mp4") as source:
        assert len(list(source)) == done
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.mp4", "faces.csv", "faces.parquet", "film.mp4"]


def test_a_film_that_was_cut_off_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (*films.SIZE, 3), dtype=np.uint8) for _ in range(75)]
    film = films.write(tmp_path / "film.mkv", pictures)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 3])
    done = run(film, "--jsonl", tmp_path / "faces.jsonl", "-o", tmp_path / "copy.mp4")
    assert done.returncode == 2
    assert done.stderr.startswith(f"mien: {film} ")
    assert len(done.stderr.splitlines()) == 1
    lines = (tmp_path / "faces.jsonl").read_text().splitlines()
    assert len(lines) > 15
    with VideoSource(tmp_path / "copy.mp4") as source:
        assert len(list(source)) == len(lines)


def full_after(size: int) -> Callable[[], None]:
    """A disk that takes no more than so many bytes of a file."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_full_disk_leaves_whole_lines_and_a_copy_that_plays(tmp_path: Path) -> None:
    film = films.write(tmp_path / "film.mp4", WALK * 8)
    done = run(film, "--csv", tmp_path / "faces.csv", limit=full_after(9_000))
    assert done.returncode == 2
    assert done.stderr == f"mien: {tmp_path / 'faces.csv'} cannot be used: File too large\n"
    text = (tmp_path / "faces.csv").read_text()
    assert text.endswith("\n")
    assert 8_000 < len(text) <= 9_000
    assert len({line.count(",") for line in text.splitlines()}) == 1

    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (*films.SIZE, 3), dtype=np.uint8) for _ in range(120)]
    film = films.write(tmp_path / "noise.mkv", pictures)
    done = run(film, "-o", tmp_path / "copy.mp4", "--jsonl", tmp_path / "faces.jsonl", limit=full_after(3_000_000))
    assert done.returncode == 2
    assert str(tmp_path / "copy.mp4") in done.stderr
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) > 20
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    shown = 0
    with suppress(VideoError), VideoSource(tmp_path / "copy.mp4") as source:  # its last picture may be half there
        for _ in source:
            shown += 1
    assert shown > 20


def test_a_full_disk_leaves_a_parquet_file_of_all_that_was_done(tmp_path: Path, film: Path, monkeypatch) -> None:
    monkeypatch.setattr(video_outputs, "ROWS_A_GROUP", 10)
    rooms = iter([None, None, OSError(errno.ENOSPC, "No space left on device")])
    taken = os.posix_fallocate

    def limited(*arguments: int) -> None:
        if error := next(rooms):
            raise error
        taken(*arguments)

    monkeypatch.setattr(os, "posix_fallocate", limited)
    told: list[object] = []
    with VideoSource(film) as source:
        done = recognize(source, VideoRecognizer(threads=1), Wanted(parquet=tmp_path / "faces.parquet"), told.append)
    assert isinstance(done.error, OSError)
    assert str(tmp_path / "faces.parquet") in str(done.error)
    assert done.files == (tmp_path / "faces.parquet",)
    assert parquet.read_table(tmp_path / "faces.parquet")["frame"].to_pylist() == list(range(20))
    assert (tmp_path / "faces.parquet").stat().st_size < 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["faces.parquet"]


def test_a_disk_without_room_leaves_nothing(tmp_path: Path, film: Path) -> None:
    done = run(film, "--parquet", tmp_path / "faces.parquet", limit=full_after(1_000_000))
    assert done.returncode == 2
    assert done.stderr == f"mien: {tmp_path / 'faces.parquet'} cannot be used: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "{folder}/copy.avi"], "the name of an annotated video must end in .mp4, .mov, .mkv, got copy.avi"),
        (["--report", "{folder}/report.pdf"], "the name of a report must end in .html, got report.pdf"),
        (
            ["--csv", "{folder}/gone/faces.csv"],
            "there is no folder {folder}/gone for faces.csv: make it, or name another",
        ),
        (
            ["--csv", "{folder}/a", "--jsonl", "{folder}/a"],
            "each file needs a name of its own, got {folder}/a, {folder}/a",
        ),
        (["--csv", "{folder}"], "{folder} is a folder: name a file in it"),
        (["--detect-every", "0"], "faces are looked for in every picture (1) or fewer (2, 3, ...), got 0"),
        (["--model", "huge"], "unknown model huge: "),
    ],
)
def test_what_cannot_be_is_said_at_once(
    mien: Mien, tmp_path: Path, film: Path, arguments: list[str], sentence: str
) -> None:
    code, _, err = mien("video", film, *(argument.format(folder=tmp_path) for argument in arguments))
    assert code == 2
    assert err.startswith(f"mien: {sentence.format(folder=tmp_path)}")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_one_file_by_two_names_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"each file needs a name of its own, got faces\.txt, .*faces\.txt"):
        Wanted(csv=Path("faces.txt"), jsonl=tmp_path / "faces.txt")
    assert Wanted(csv=Path("-"), jsonl=tmp_path / "-").prints


@pytest.mark.parametrize("protocol", ["", "file:", "file://"])
def test_the_video_itself_is_not_written_over(mien: Mien, tmp_path: Path, protocol: str) -> None:
    film = films.write(tmp_path / "film.mp4", WALK[:3])
    before = film.read_bytes()
    code, _, err = mien("video", f"{protocol}{film}", "-o", film)
    assert (code, err) == (2, f"mien: {film} is the video itself, which would be lost: name another file\n")
    assert film.read_bytes() == before


def test_the_picture_beside_a_report_is_not_written_over_the_video(mien: Mien, tmp_path: Path) -> None:
    film = tmp_path / "film.png"
    first, *others = map(Image.fromarray, WALK[:3])
    first.save(film, save_all=True, append_images=others, duration=40)
    before = film.read_bytes()
    code, _, err = mien("video", film, "--report", tmp_path / "film.html")
    assert code == 2
    assert f"{film} is the video itself" in err
    assert film.read_bytes() == before


@pytest.mark.parametrize("name", ["sale_$5_to_$10.mp4", os.fsdecode(b"caf\xe9.mp4")])
def test_a_name_that_is_no_formula_and_no_text(tmp_path: Path, name: str) -> None:
    film = films.write(tmp_path / "film.mp4", WALK[:3]).rename(tmp_path / name)
    done = run(film, "--report", tmp_path / "film.html")
    assert done.returncode == 0, done.stderr
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    assert f"<h1>{shown}</h1>" in (tmp_path / "film.html").read_text()


def test_stopped_before_the_first_picture_it_is_stopped_and_no_error(tmp_path: Path, film: Path, monkeypatch) -> None:
    @contextmanager
    def at_once() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(requested=True)

    monkeypatch.setattr(videos, "interruptible", at_once)
    wanted = Wanted(tmp_path / "f.mp4", tmp_path / "f.csv", report=tmp_path / "f.html")
    (tmp_path / "f.csv").write_text("earlier")
    with VideoSource(film, sound=True) as source:
        done = recognize(source, VideoRecognizer(threads=1), wanted, lambda frame: None)
    assert (done.interrupted, done.error, done.files) == (True, None, ())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("f.csv", "earlier")]


def test_an_earlier_copy_is_not_replaced_by_nothing(mien: Mien, tmp_path: Path) -> None:
    film = films.write(tmp_path / "film.mp4", WALK)
    content = bytearray(film.read_bytes())
    start = content.index(b"mdat") + 4
    content[start : content.index(b"moov", start) - 4] = bytes(content.index(b"moov", start) - 4 - start)
    film.write_bytes(content)
    options = {"-o": "copy.mp4", "--csv": "f.csv", "--jsonl": "f.jsonl", "--parquet": "f.parquet", "--report": "f.html"}
    before = dict.fromkeys((*options.values(), "f.png"), "earlier")
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    wanted = [part for option, name in options.items() for part in (option, tmp_path / name)]
    code, _, err = mien("video", film, *wanted)
    assert code == 2
    assert "has not one picture that can be decoded" in err
    film.unlink()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_smoothing_over_no_number_of_seconds(mien: Mien, film: Path) -> None:
    code, _, err = mien("video", film, "--smooth", "nan")
    assert code == 2
    assert "smoothing needs seconds of 0 or more" in err
    assert "Traceback" not in err


def test_no_video(mien: Mien, tmp_path: Path) -> None:
    code, out, err = mien("video", tmp_path / "gone.mp4", "--csv", tmp_path / "faces.csv")
    assert (code, out) == (2, "")
    assert err == f"mien: there is no video {tmp_path / 'gone.mp4'}; check the path\n"
    assert list(tmp_path.iterdir()) == []


def test_from_python(film: Path, tmp_path: Path) -> None:
    told = []
    with VideoSource(film) as source:
        done = recognize(source, VideoRecognizer(threads=1), Wanted(csv=tmp_path / "faces.csv"), told.append)
    assert isinstance(done.timeline, Timeline)
    assert (done.files, done.error, done.interrupted) == ((tmp_path / "faces.csv",), None, False)
    assert [frame.number for frame in told] == list(range(25))
    with pytest.raises(ConfigError, match="there is no folder"):
        Wanted(csv=tmp_path / "gone" / "faces.csv")
