"""`mien video` and `recognize_video`: tables, interruptions, errors and full disks."""

from __future__ import annotations

import errno
import http.server
import json
import os
import resource
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from mien.errors import ConfigError, VideoError, shortened_path
from mien.labels import EXPRESSIONS
from mien.video import pipeline, writers
from mien.video.pipeline import VideoOutputs, recognize_video
from mien.video.recognizer import VideoRecognizer
from mien.video.source import VideoSource
from mien.video.timeline import Timeline
from tests.conftest import Mien
from tests.video import samples
from tests.video.command import command, read_csv, run
from tests.waiting import LONG_S


def test_csv_has_a_line_per_face(outputs_folder: Path) -> None:
    rows = read_csv(outputs_folder / "faces.csv")
    assert [int(row["frame"]) for row in rows] == list(range(25))
    names = [f"{prefix}{name}" for prefix in ("", "raw_") for name in EXPRESSIONS]
    assert list(rows[0]) == [
        *("time_s", "frame", "track", "x0", "y0", "x1", "y1"),
        *("score", "expression", "confidence", "uncertain", *names),
    ]
    assert {row["track"] for row in rows} == {"1"}
    assert {row["uncertain"] for row in rows} <= {"true", "false"}
    for row in rows:
        steady = [float(row[name]) for name in EXPRESSIONS]
        raw = [float(row[f"raw_{name}"]) for name in EXPRESSIONS]
        assert sum(steady) == pytest.approx(1, abs=1e-5)
        assert sum(raw) == pytest.approx(1, abs=1e-5)
        assert float(row["confidence"]) == float(row[row["expression"]])
    assert any(row["happy"] != row["raw_happy"] for row in rows)


def test_times_are_those_of_the_video(outputs_folder: Path, video: Path) -> None:
    with VideoSource(video) as source:
        times_s = [frame.time_s for frame in source]
    assert np.ptp(np.diff(times_s)) > 0.03
    assert [float(row["time_s"]) for row in read_csv(outputs_folder / "faces.csv")] == pytest.approx(times_s, abs=1e-4)
    assert list(parquet.read_table(outputs_folder / "faces.parquet")["time_s"].to_pylist()) == pytest.approx(
        times_s, abs=1e-4
    )
    with VideoSource(outputs_folder / "copy.mp4") as source:
        assert [frame.time_s for frame in source] == pytest.approx(times_s, abs=1e-4)


def test_all_tables_have_the_same_values(outputs_folder: Path) -> None:
    rows = read_csv(outputs_folder / "faces.csv")
    table = parquet.read_table(outputs_folder / "faces.parquet").to_pylist()
    lines = [json.loads(line) for line in (outputs_folder / "faces.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(25))
    assert list(lines[0]) == ["frame", "time_s", "faces"]
    assert list(lines[0]["faces"][0]) == [
        *("track", "box", "score", "expression", "confidence", "uncertain"),
        *("probabilities", "landmarks", "raw_probabilities"),
    ]
    assert list(table[0]) == list(rows[0])
    assert len(rows) == len(table) == 25
    for row, stored, line in zip(rows, table, lines, strict=True):
        (face,) = line["faces"]
        assert row["expression"] == stored["expression"] == face["expression"]
        assert (row["uncertain"] == "true") is stored["uncertain"] is face["uncertain"]
        assert stored["track"] == face["track"] == 1
        for name in EXPRESSIONS:
            assert float(row[name]) == face["probabilities"][name] == pytest.approx(stored[name], abs=1e-6)
            assert float(row[f"raw_{name}"]) == face["raw_probabilities"][name]


def test_video_without_a_face(tmp_path: Path) -> None:
    video = samples.write(tmp_path / "video.mp4", [samples.face_at()] * 10)
    done = run(
        video, "--csv", tmp_path / "faces.csv", "--jsonl", tmp_path / "faces.jsonl", "--parquet", tmp_path / "f.parquet"
    )
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "no face")
    assert read_csv(tmp_path / "faces.csv") == []
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 10
    assert parquet.read_table(tmp_path / "f.parquet").num_rows == 0


def test_standard_output_has_only_the_lines(video: Path) -> None:
    done = run(video, "--jsonl", "-")
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == list(range(25))
    assert "happy" in done.stderr
    done = run(video, "--csv", "-")
    assert len(done.stdout.splitlines()) == 26


def test_interrupt_while_a_network_address_is_silent(tmp_path: Path) -> None:
    video = samples.write(tmp_path / "video.ts", samples.WALK * 4).read_bytes()
    done = threading.Event()

    class HalfOfTheVideo(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(video)))
            self.end_headers()
            self.wfile.write(video[: len(video) // 2])
            done.wait()

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HalfOfTheVideo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        process = subprocess.Popen(
            command(f"http://127.0.0.1:{server.server_port}/video.ts", "--csv", tmp_path / "faces.csv", "--jsonl", "-"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # so that communicate() gets all that was not read
        )
        assert process.stdout is not None
        lines: list[bytes] = []
        try:
            # mien waits for the address when all lines are read and no more come; a full pipe would block it instead.
            while select.select([process.stdout], [], [], 3 if lines else LONG_S)[0]:
                lines.append(process.stdout.readline())
                assert lines[-1], "mien ended by itself"
            process.send_signal(signal.SIGINT)
            printed, stderr = process.communicate(timeout=30)  # FFmpeg itself waits for a minute
        finally:
            process.kill()
            done.set()
            server.shutdown()
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert len(lines) >= 20
    frame_records = [json.loads(line) for line in (*lines, *printed.splitlines())]
    assert [record["frame"] for record in frame_records] == list(range(len(frame_records)))
    with_faces = [record["frame"] for record in frame_records if record["faces"]]
    assert [int(row["frame"]) for row in read_csv(tmp_path / "faces.csv")] == with_faces


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_keeps_complete_files(tmp_path: Path, number: int) -> None:
    video = samples.write(tmp_path / "video.mp4", samples.WALK * 80, sound="aac")
    outputs = ["-o", tmp_path / "copy.mp4", "--csv", tmp_path / "faces.csv", "--parquet", tmp_path / "faces.parquet"]
    process = subprocess.Popen(
        command(video, *outputs, "--jsonl", "-"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    for _ in range(30):
        assert process.stdout.readline()
    process.send_signal(number)
    printed, stderr = process.communicate(timeout=LONG_S)
    assert process.returncode == 130
    assert b"stopped after 0:0" in stderr
    assert b"Traceback" not in stderr
    rows = read_csv(tmp_path / "faces.csv")
    frame_count = 30 + len(printed.splitlines())
    assert 30 <= frame_count < 2000
    assert int(rows[-1]["frame"]) == frame_count - 1
    assert parquet.read_table(tmp_path / "faces.parquet").num_rows == len(rows)
    with VideoSource(tmp_path / "copy.mp4") as source:
        assert len(list(source)) == frame_count
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.mp4", "faces.csv", "faces.parquet", "video.mp4"]


def test_truncated_video_is_recognised_up_to_its_end(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (*samples.SIZE, 3), dtype=np.uint8) for _ in range(75)]
    video = samples.write(tmp_path / "video.mkv", frames)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 3])
    done = run(video, "--jsonl", tmp_path / "faces.jsonl", "-o", tmp_path / "copy.mp4")
    assert done.returncode == 2
    name = shortened_path(video)
    assert done.stderr.startswith((f"mien: {name} ends after", f"mien: reading {name} stopped after"))
    assert len(done.stderr.splitlines()) == 1
    lines = (tmp_path / "faces.jsonl").read_text().splitlines()
    assert len(lines) > 15
    with VideoSource(tmp_path / "copy.mp4") as source:
        assert len(list(source)) == len(lines)


def full_after(size: int) -> Callable[[], None]:
    """Returns a function that limits the size of files, in bytes, like a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_full_disk_leaves_complete_lines_and_a_playable_copy(tmp_path: Path) -> None:
    video = samples.write(tmp_path / "video.mp4", samples.WALK * 8)
    done = run(video, "--csv", tmp_path / "faces.csv", limit=full_after(9_000))
    assert done.returncode == 2
    assert done.stderr.startswith("mien: ")
    assert done.stderr.endswith("/faces.csv cannot be used: File too large\n")
    text = (tmp_path / "faces.csv").read_text()
    assert text.endswith("\n")
    assert 8_000 < len(text) <= 9_000
    assert len({line.count(",") for line in text.splitlines()}) == 1

    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (*samples.SIZE, 3), dtype=np.uint8) for _ in range(120)]
    video = samples.write(tmp_path / "noise.mkv", frames)
    done = run(video, "-o", tmp_path / "copy.mp4", "--jsonl", tmp_path / "faces.jsonl", limit=full_after(3_000_000))
    assert done.returncode == 2
    assert "/copy.mp4 cannot be used" in done.stderr
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) > 20
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    frame_count = 0
    with suppress(VideoError), VideoSource(tmp_path / "copy.mp4") as source:  # the last frame may be incomplete
        for _ in source:
            frame_count += 1
    assert frame_count > 20


def test_full_disk_leaves_a_readable_parquet_file(tmp_path: Path, video: Path, monkeypatch) -> None:
    monkeypatch.setattr(writers, "ROWS_PER_GROUP", 10)
    errors = iter([None, None, OSError(errno.ENOSPC, "No space left on device")])
    allocate = os.posix_fallocate

    def limited(*arguments: int) -> None:
        if error := next(errors):
            raise error
        allocate(*arguments)

    monkeypatch.setattr(os, "posix_fallocate", limited)
    outputs = VideoOutputs(parquet=tmp_path / "faces.parquet")
    with VideoSource(video) as source:
        result = recognize_video(source, VideoRecognizer(threads=1), outputs, lambda frame: None)
    assert isinstance(result.error, OSError)
    assert str(tmp_path / "faces.parquet") in str(result.error)
    assert result.files == (tmp_path / "faces.parquet",)
    assert parquet.read_table(tmp_path / "faces.parquet")["frame"].to_pylist() == list(range(20))
    assert (tmp_path / "faces.parquet").stat().st_size < 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["faces.parquet"]


def test_disk_without_space_leaves_nothing(tmp_path: Path, video: Path) -> None:
    done = run(video, "--parquet", tmp_path / "faces.parquet", limit=full_after(1_000_000))
    assert done.returncode == 2
    assert done.stderr.startswith("mien: ")
    assert done.stderr.endswith("/faces.parquet cannot be used: File too large\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "{folder}/copy.avi"], "the name of an annotated video must end in .mp4, .mov, .mkv, got copy.avi"),
        (["--report", "{folder}/report.pdf"], "the name of a report must end in .html, got report.pdf"),
        (
            ["--csv", "{folder}/gone/faces.csv"],
            "the folder {folder}/gone of faces.csv does not exist: create it or choose another folder",
        ),
        (
            ["--csv", "{folder}/a", "--jsonl", "{folder}/a"],
            "each output needs its own file, got {folder}/a, {folder}/a",
        ),
        (["--csv", "{folder}"], "{folder} is a folder: give the path of a file"),
        (
            ["--csv", "{folder}/a.csv", "--blur"],
            "--blur is for the annotated copy: give a .mp4, .mov or .mkv file by -o",
        ),
        (["--csv", "{folder}/a.csv", "--no-faces"], "--notice and --no-faces are for the report: give its file by"),
        (["--detect-every", "0"], "detect_every must be at least 1 (detect faces in every frame), got 0"),
        (["--model", "huge"], "unknown model huge: "),
        (["--device", "cudo"], "unknown device cudo: did you mean cuda"),
    ],
)
def test_invalid_option_is_an_error_before_anything_is_written(
    mien: Mien, tmp_path: Path, video: Path, arguments: list[str], sentence: str
) -> None:
    code, _, err = mien("video", video, *(argument.format(folder=tmp_path) for argument in arguments))
    assert code == 2
    assert err.startswith(f"mien: {sentence.format(folder=tmp_path)}")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_same_file_for_two_outputs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"each output needs its own file, got faces\.txt, .*faces\.txt"):
        VideoOutputs(csv=Path("faces.txt"), jsonl=tmp_path / "faces.txt")
    assert VideoOutputs(csv=Path("-"), jsonl=tmp_path / "-").uses_standard_output


@pytest.mark.parametrize("protocol", ["", "file:", "file://"])
def test_output_that_is_the_video_is_an_error(mien: Mien, tmp_path: Path, protocol: str) -> None:
    video = samples.write(tmp_path / "video.mp4", samples.WALK[:3])
    before = video.read_bytes()
    code, _, err = mien("video", f"{protocol}{video}", "-o", video)
    assert (code, err) == (2, f"mien: {video} is the video itself and would be overwritten: choose another file\n")
    assert video.read_bytes() == before


def test_timeline_of_a_report_that_is_the_video_is_an_error(mien: Mien, tmp_path: Path) -> None:
    video = tmp_path / "video.png"
    first, *others = map(Image.fromarray, samples.WALK[:3])
    first.save(video, save_all=True, append_images=others, duration=40)
    before = video.read_bytes()
    code, _, err = mien("video", video, "--report", tmp_path / "video.html")
    assert code == 2
    assert f"{video} is the video itself" in err
    assert video.read_bytes() == before


@pytest.mark.parametrize("name", ["sale_$5_to_$10.mp4", os.fsdecode(b"caf\xe9.mp4")])
def test_report_of_a_video_with_an_odd_name(tmp_path: Path, name: str) -> None:
    video = samples.write(tmp_path / "video.mp4", samples.WALK[:3]).rename(tmp_path / name)
    done = run(video, "--report", tmp_path / "video.html")
    assert done.returncode == 0, done.stderr
    title = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    assert f"<h1>{title}</h1>" in (tmp_path / "video.html").read_text()


def test_interrupt_before_the_first_frame_writes_nothing(tmp_path: Path, video: Path, monkeypatch) -> None:
    @contextmanager
    def interrupted() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(requested=True)

    monkeypatch.setattr(pipeline, "interruptible", interrupted)
    outputs = VideoOutputs(tmp_path / "f.mp4", tmp_path / "f.csv", report=tmp_path / "f.html")
    (tmp_path / "f.csv").write_text("earlier")
    with VideoSource(video, sound=True) as source:
        result = recognize_video(source, VideoRecognizer(threads=1), outputs, lambda frame: None)
    assert (result.interrupted, result.error, result.files) == (True, None, ())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("f.csv", "earlier")]


def test_video_without_a_readable_frame_keeps_earlier_outputs(mien: Mien, tmp_path: Path) -> None:
    video = samples.write(tmp_path / "video.mp4", samples.WALK)
    content = bytearray(video.read_bytes())
    start = content.index(b"mdat") + 4
    content[start : content.index(b"moov", start) - 4] = bytes(content.index(b"moov", start) - 4 - start)
    video.write_bytes(content)
    options = {"-o": "copy.mp4", "--csv": "f.csv", "--jsonl": "f.jsonl", "--parquet": "f.parquet", "--report": "f.html"}
    before = dict.fromkeys((*options.values(), "f.png"), "earlier")
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    arguments = [part for option, name in options.items() for part in (option, tmp_path / name)]
    code, _, err = mien("video", video, *arguments, "--overwrite")
    assert code == 2
    assert "has no frame that can be decoded" in err
    video.unlink()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_smoothing_over_nan_seconds_is_an_error(mien: Mien, video: Path) -> None:
    code, _, err = mien("video", video, "--smooth", "nan")
    assert code == 2
    assert "smoothing needs seconds of at least 0" in err
    assert "Traceback" not in err


def test_missing_video_is_an_error(mien: Mien, tmp_path: Path) -> None:
    code, out, err = mien("video", tmp_path / "gone.mp4", "--csv", tmp_path / "faces.csv")
    assert (code, out) == (2, "")
    assert err == f"mien: there is no video {shortened_path(tmp_path / 'gone.mp4')}; check the path\n"
    assert list(tmp_path.iterdir()) == []


def test_recognize_video_calls_on_frame_and_returns_the_files(video: Path, tmp_path: Path) -> None:
    frames = []
    outputs = VideoOutputs(csv=tmp_path / "faces.csv")
    with VideoSource(video) as source:
        result = recognize_video(source, VideoRecognizer(threads=1), outputs, frames.append)
    assert isinstance(result.timeline, Timeline)
    assert (result.files, result.error, result.interrupted) == ((tmp_path / "faces.csv",), None, False)
    assert [frame.number for frame in frames] == list(range(25))
    with pytest.raises(ConfigError, match="does not exist: create it"):
        VideoOutputs(csv=tmp_path / "gone" / "faces.csv")
