"""Batches in worker processes: one picture cannot fail another, and a worker that dies is replaced."""

import functools
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import ImageError, WeightsError
from mien.service import Limits
from mien.service.batching import Batcher, QueueFullError, RecognitionError
from mien.service.process import WorkerProcess
from mien.service.worker import MAX_BATCH_PIXELS, Picture, WorkerSetup, answers, decode, recognizer_factory
from tests.service.conftest import PICTURE
from tests.service.recognizers import BLUE, GREEN, RED, WHITE, ColourRecognizer, Hold
from tests.waiting import LONG_S, until

pytestmark = pytest.mark.process


def png(colour, size=(32, 32), mode="RGB"):
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, "PNG")
    return stream.getvalue()


GRAY = Picture("gray", png("gray"))


@pytest.fixture
def hold(tmp_path):
    """Lets a test hold the workers."""
    hold = Hold(tmp_path)
    yield hold
    hold.end()


@pytest.fixture
def make_batcher(tmp_path):
    """Makes a batcher of ColourRecognizers, and a list of its batch sizes; closes it after the test."""
    batchers = []

    def make(workers=1, batch_size=4, wait_ms=200.0, limits=None, worker_pictures=10**6):
        sizes = []
        setup = WorkerSetup(functools.partial(ColourRecognizer, tmp_path), 25_000_000, 2**30)
        start = functools.partial(WorkerProcess, setup)
        limits = limits or Limits(seconds=5 * LONG_S)
        batchers.append(Batcher(start, limits, workers, worker_pictures, batch_size, wait_ms, sizes.append))
        until(lambda: len(batchers[-1].worker_pids) == workers, "all workers to be ready")
        return batchers[-1], sizes

    yield make
    for batcher in batchers:
        batcher.close()


def test_full_batch_does_not_wait(make_batcher):
    batcher, sizes = make_batcher(batch_size=3, wait_ms=600_000)
    futures = [batcher.submit([Picture(f"{level}.png", png((level,) * 3))])[0] for level in (10, 20, 30)]
    assert [future.result(LONG_S)["name"] for future in futures] == ["10.png", "20.png", "30.png"]
    assert sizes == [3]


def test_single_picture_waits_at_most_wait_ms(make_batcher):
    batcher, sizes = make_batcher(wait_ms=50)
    batcher.submit([GRAY])[0].result(LONG_S)
    started = time.monotonic()
    batcher.submit([GRAY])[0].result(LONG_S)
    assert 0.05 <= time.monotonic() - started < 5
    assert sizes == [1, 1]


def test_queued_pictures_are_divided_among_idle_workers(make_batcher):
    batcher, sizes = make_batcher(workers=2, wait_ms=0)
    until(lambda: batcher._idle_workers == 2, "both workers to be idle")
    for future in batcher.submit([GRAY, GRAY]):
        assert future.result(LONG_S)["faces"] == []
    assert sizes == [1, 1]


def test_bad_picture_does_not_fail_its_batch(make_batcher):
    batcher, sizes = make_batcher()
    (pid,) = batcher.worker_pids
    pictures = {"gray": png("gray"), "green": png(GREEN), "text": b"not a picture", "yellow": png("yellow")}
    gray, green, text, yellow = batcher.submit([Picture(*picture) for picture in pictures.items()])
    assert [future.result(LONG_S)["name"] for future in (gray, yellow)] == ["gray", "yellow"]
    with pytest.raises(RecognitionError, match="ZeroDivisionError: green"):
        green.result(LONG_S)
    with pytest.raises(ImageError, match="text cannot be read as a picture"):
        text.result(LONG_S)
    assert sizes == [4]
    assert batcher.worker_pids == [pid]


def test_crash_fails_only_the_picture_that_caused_it(make_batcher, caplog):
    batcher, sizes = make_batcher()
    (pid,) = batcher.worker_pids
    red, *others = batcher.submit([Picture("red", png(RED)), GRAY, GRAY, GRAY])
    with pytest.raises(RecognitionError, match="a worker process ended by signal SIGSEGV at red"):
        red.result(LONG_S)
    assert [future.result(LONG_S)["name"] for future in others] == ["gray"] * 3
    assert sizes == [4, 1, 1, 1, 1]
    assert batcher.submit([GRAY])[0].result(LONG_S)
    assert pid not in batcher.worker_pids
    assert all("SIGSEGV" in record.getMessage() for record in caplog.records)


def test_picture_that_needs_too_much_memory_fails_alone(make_batcher):
    batcher, _ = make_batcher()
    blue, gray = batcher.submit([Picture("blue", png(BLUE)), GRAY])
    with pytest.raises(RecognitionError, match="MemoryError"):
        blue.result(LONG_S)
    assert gray.result(LONG_S)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux limits the memory of a process")
def test_worker_that_outgrows_its_memory_limit_fails_the_picture(tmp_path):
    setup = WorkerSetup(functools.partial(ColourRecognizer, tmp_path), 10**9, 2**28)
    worker = WorkerProcess(setup)
    worker.wait_until_ready()
    large, small = worker.recognize([Picture("large", png(0, (12_000, 12_000), "1")), GRAY])
    assert "not enough memory" in large["unreadable"]
    assert small["record"]["width"] == 32
    worker.close()


def test_slow_worker_is_killed_and_replaced(make_batcher):
    batcher, _ = make_batcher(limits=Limits(seconds=4))
    pids = batcher.worker_pids
    (white,) = batcher.submit([Picture("white", png(WHITE))])
    with pytest.raises(RecognitionError, match="a worker process exceeded its limit of 4 s and was ended at white"):
        white.result(LONG_S)
    assert batcher.submit([GRAY])[0].result(LONG_S)
    assert batcher.worker_pids != pids
    assert not batcher.is_broken


def test_other_worker_answers_while_one_is_held(make_batcher):
    batcher, _ = make_batcher(workers=2, batch_size=1, wait_ms=0)
    (white,) = batcher.submit([Picture("white", png(WHITE))])
    until(lambda: batcher.queue_length == 0, "a worker to have the white picture")
    assert all(batcher.submit([GRAY])[0].result(LONG_S) for _ in range(3))
    assert not white.done()
    for pid in batcher.worker_pids:
        os.kill(pid, signal.SIGKILL)


def test_worker_is_replaced_after_its_number_of_pictures(make_batcher):
    batcher, _ = make_batcher(worker_pictures=3, batch_size=1, wait_ms=0)
    pids = []
    for _ in range(7):
        pids += batcher.worker_pids
        assert batcher.submit([GRAY])[0].result(LONG_S)
        until(lambda: batcher.worker_pids, "a worker to be ready")
    assert len(set(pids)) == 3
    until(lambda: not is_running(pids[0]), "the first worker to end")


def test_workers_are_first_replaced_at_different_times(make_batcher):
    batcher, _ = make_batcher(workers=2, worker_pictures=4, batch_size=1, wait_ms=0)
    before = set(batcher.worker_pids)
    for future in batcher.submit([GRAY] * 3):
        future.result(LONG_S)
    assert before & set(batcher.worker_pids)


def test_submit_queues_all_pictures_of_a_request_or_none(make_batcher, hold):
    batcher, _ = make_batcher(batch_size=1, wait_ms=0, limits=Limits(pictures=2, queue=3, seconds=LONG_S))
    hold.begin()
    futures = batcher.submit([GRAY])
    until(lambda: hold.is_reached, "the worker to have the picture")
    futures += batcher.submit([GRAY] * 2)
    with pytest.raises(QueueFullError, match="2 of at most 3 pictures are waiting"):
        batcher.submit([GRAY] * 2)
    assert batcher.queue_length == 2
    assert not batcher.is_full
    futures += batcher.submit([GRAY])
    assert batcher.is_full
    assert futures.pop().cancel()
    hold.end()
    assert all(future.result(LONG_S) for future in futures)


def test_close_answers_every_queued_picture_and_ends_the_workers(make_batcher):
    batcher, _ = make_batcher(batch_size=2, wait_ms=10_000)
    (pid,) = batcher.worker_pids
    futures = batcher.submit([Picture(str(number), png("gray")) for number in range(5)])
    batcher.close()
    assert [future.result(0)["name"] for future in futures] == ["0", "1", "2", "3", "4"]
    assert not is_running(pid)


def test_close_kills_a_worker_over_the_time_limit(make_batcher):
    batcher, _ = make_batcher(wait_ms=0, limits=Limits(seconds=0.5))
    (pid,) = batcher.worker_pids
    futures = batcher.submit([Picture("white", png(WHITE))] + [GRAY] * 4)
    closed_s = time.monotonic()
    batcher.close()
    assert time.monotonic() - closed_s < LONG_S
    for future in futures:
        assert future.exception(LONG_S) is None or isinstance(future.exception(), RecognitionError)
    until(lambda: not is_running(pid), "the worker to end")


def test_broken_model_is_reported_when_the_batcher_is_made(tmp_path):
    model = tmp_path / "broken.onnx"
    model.write_bytes(b"not a model")
    setup = WorkerSetup(recognizer_factory(model, "blazeface"), 10**6, 2**30)
    with pytest.raises(WeightsError, match=r"broken\.onnx is damaged or is not an ONNX model"):
        Batcher(functools.partial(WorkerProcess, setup), Limits(), 2, 10, 4, 2, print)


def test_batcher_whose_workers_cannot_start_again_is_broken(tmp_path, caplog):
    setups = [WorkerSetup(functools.partial(ColourRecognizer, tmp_path), 10**6, 2**30)]
    bad = WorkerSetup(functools.partial(int, "no recogniser"), 10**6, 2**30)
    batcher = Batcher(lambda: WorkerProcess(setups.pop() if setups else bad), Limits(), 1, 10, 4, 2, print)
    assert not batcher.is_broken
    (pid,) = until(lambda: batcher.worker_pids, "the worker to be ready")
    os.kill(pid, signal.SIGKILL)
    (future,) = batcher.submit([GRAY])
    with pytest.raises(RecognitionError, match="SIGKILL"):
        future.result(LONG_S)
    until(lambda: batcher.is_broken, "the second worker to fail at its start")
    assert any("cannot start: a worker process ended with exit code 1" in record.message for record in caplog.records)
    batcher.close()


def test_worker_ends_when_the_service_is_killed():
    program = "import os, sys, time\nfrom tests.service.test_batching import start_worker\n"
    program += "print(start_worker().pid, flush=True)\ntime.sleep(3600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as service:
        pid = int(service.stdout.readline())
        assert is_running(pid)
        service.kill()
    until(lambda: not is_running(pid), "the worker to end")


def start_worker():
    """Starts a worker that is ready."""
    worker = WorkerProcess(WorkerSetup(functools.partial(ColourRecognizer, "."), 10**6, 2**30))
    worker.wait_until_ready()
    return worker


def test_worker_does_not_run_the_main_module_again(tmp_path):
    script = tmp_path / "app.py"
    script.write_text("from mien.service import create_app\nprint('main')\napp = create_app()\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "main\n", "")


def test_worker_ignores_modules_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('wrong module')")
    monkeypatch.chdir(tmp_path)
    start_worker().close()


def test_large_pictures_are_recognised_one_after_the_other(tmp_path):
    sizes = []

    class Counts:
        def recognize_batch(self, images_rgb):
            sizes.append(len(images_rgb))
            return [()] * len(images_rgb)

    large = Picture("large", png("gray", (2000, MAX_BATCH_PIXELS // 2000)))
    found = list(answers([GRAY, GRAY, large, large, GRAY], Counts(), 10**8))
    assert [answer["picture"] for answer in found] == [0, 1, 2, 3, 4]
    assert sizes == [3, 1, 1]


def is_running(pid):
    """Returns whether a process exists and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_decode_gives_the_pixels_of_pillow():
    assert (decode(Picture("astronaut", PICTURE), 10**6) == np.asarray(Image.open(io.BytesIO(PICTURE)))).all()


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "it is empty, or its format is not one of JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is empty, or its format is not one of JPEG, PNG"),
        (PICTURE[:2000], "truncated"),
        (
            png("gray", (200, 100)),
            "it has 200 x 100 pixels and 19,999 are allowed; make it smaller, or start mien serve with "
            "--max-pixels 20000",
        ),
    ],
    ids=["empty", "postscript", "truncated", "large"],
)
def test_unreadable_picture_raises_image_error_with_reason(encoded, reason):
    limit = 19_999 if reason.startswith("it has") else 10**6
    with pytest.raises(ImageError, match=f"face.jpg cannot be read as a picture: .*{reason}"):
        decode(Picture("face.jpg", encoded), limit)


def test_long_name_is_shortened_in_the_error():
    with pytest.raises(ImageError) as error:
        decode(Picture("x" * 1000, b""), 10**6)
    assert str(error.value).startswith("x" * 80 + "... cannot")
