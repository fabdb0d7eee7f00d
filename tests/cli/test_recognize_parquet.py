"""`mien recognize DIR -o faces.parquet` in real processes: killed, interrupted, resumed, and started twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from pyarrow import parquet

from tests.cli.conftest import ASTRONAUT
from tests.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PICTURES = 160


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures for five parts."""
    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(ASTRONAUT) as astronaut:
        for number in range(PICTURES):
            astronaut.resize((200 + number,) * 2).save(folder / f"{number:03}.jpg")
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed") / "faces.parquet"
    out, err = start(folder, output).communicate(timeout=600)
    assert (out, err) == (f"written: {output}, {PICTURES} pictures\n", "")
    assert parquet.read_table(output).num_rows >= PICTURES
    return output.read_bytes()


def start(folder, output, workers=2):
    words = [sys.executable, "-m", "mien", "recognize", folder, "-o", output, "--workers", str(workers)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def workers_of(process):
    """Returns the worker processes, without the one with which Python tracks shared memory."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def parts_of(output):
    return list(output.with_name(f"{output.name}.parts").glob("part-*.parquet"))


def test_killed_worker_does_not_change_the_file(folder, undisturbed, tmp_path):
    output = tmp_path / "faces.parquet"
    process = start(folder, output)
    until(lambda: parts_of(output), "the first part", 600)
    for worker in workers_of(process)[:1]:
        os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    assert "written" in out
    assert output.read_bytes() == undisturbed
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        (signal.SIGINT, 130, "interrupted; run the same command again to resume from"),
        (signal.SIGKILL, -9, ""),
        (signal.SIGTERM, -15, ""),
    ],
)
def test_ended_command_is_resumed_with_another_number_of_workers(folder, undisturbed, tmp_path, end, code, message):
    output = tmp_path / "faces.parquet"
    process = start(folder, output)
    until(lambda: parts_of(output), "the first part", 600)
    workers = workers_of(process)
    os.killpg(process.pid, end) if end == signal.SIGINT else process.send_signal(end)  # as a terminal does
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (code, "")
    assert message in out
    until(lambda: not any(Path(f"/proc/{worker}/cwd").exists() for worker in workers), "the workers to end")
    finished = {part: part.stat().st_mtime_ns for part in parts_of(output)}
    assert finished
    assert not output.exists()
    process = start(folder, output, workers=1)
    until(lambda: len(parts_of(output)) > len(finished) or output.exists(), "one more part", 600)
    assert output.exists() or {part: part.stat().st_mtime_ns for part in finished} == finished  # not made again
    assert process.communicate(timeout=600)[1] == ""
    assert output.read_bytes() == undisturbed
    assert list(tmp_path.iterdir()) == [output]


def test_second_command_for_the_same_output_is_told_of_the_first(folder, undisturbed, tmp_path):
    output, other = tmp_path / "faces.parquet", tmp_path / "other"
    other.mkdir()
    Image.open(ASTRONAUT).save(other / "a.jpg")
    first = start(folder, output)
    until(lambda: parts_of(output), "the first part", 600)
    for pictures in (folder, other):
        _, err = (second := start(pictures, output)).communicate(timeout=600)
        assert second.returncode == 2
        assert err.startswith("mien: another mien process is recognising pictures into ")
    assert first.communicate(timeout=600)[1] == ""
    assert output.read_bytes() == undisturbed
