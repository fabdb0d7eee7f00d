"""Tasks are run in several processes; one that dies costs its task alone."""

import itertools
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from mien.errors import MienError
from mien.recognition.workers import in_processes
from tests.recognition import worker_functions
from tests.waiting import until

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
WAITING = """
import sys
from functools import partial
from pathlib import Path
from mien.recognition.workers import in_processes
from tests.recognition.worker_functions import write_process_and_wait

if __name__ == "__main__":
    list(in_processes(partial(write_process_and_wait, Path(sys.argv[1])), range(2), 2))
"""


def is_running(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_every_task_has_one_outcome():
    outcomes = list(in_processes(worker_functions.process_of_each, range(7), 2))
    assert sorted(outcome.task for outcome in outcomes) == list(range(7))
    assert all(outcome.result[0] == outcome.task and not outcome.error for outcome in outcomes)
    processes = {outcome.result[1] for outcome in outcomes}
    assert os.getpid() not in processes
    assert len(processes) <= 2


def test_no_more_processes_than_tasks():
    assert len({outcome.result[1] for outcome in in_processes(worker_functions.process_of_each, range(1), 8)}) == 1


def test_no_tasks_give_no_outcome():
    assert list(in_processes(worker_functions.process_of_each, [], 2)) == []


def test_tasks_are_taken_only_when_a_process_is_free_and_processes_end_on_close():
    tasks = itertools.count()
    outcomes = in_processes(worker_functions.process_of_each, tasks, 1)
    processes = {next(outcomes).result[1] for _ in range(3)}
    outcomes.close()
    assert next(tasks) == 3
    assert not any(map(is_running, processes))


def test_killed_process_is_replaced_and_its_task_tried_again(tmp_path):
    outcomes = list(in_processes(partial(worker_functions.killed_once, tmp_path), range(3), 2))
    assert sorted(outcome.result for outcome in outcomes) == [0, 1, 2]


def test_task_that_fails_three_times_has_its_error():
    outcomes = {outcome.task: outcome for outcome in in_processes(worker_functions.failing, ["raise", "kill", "x"], 2)}
    assert outcomes["x"].result == "x"
    assert outcomes["raise"].result is None
    assert outcomes["raise"].error == "ValueError: this task is wrong"
    assert outcomes["kill"].error == f"its process ended with signal 9 ({signal.strsignal(9)})"


def test_exit_code_of_an_ended_process_is_named():
    (outcome,) = in_processes(worker_functions.failing, ["exit"], 1)
    assert outcome.error == "its process ended with exit code 7"


def test_process_that_cannot_start_is_an_error():
    with pytest.raises(MienError, match="a worker cannot start: its process ended with exit code 3"):
        list(in_processes(worker_functions.unable_to_start, range(3), 2))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_their_parent(tmp_path, end):
    script = tmp_path / "waiting.py"
    script.write_text(WAITING)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, script, tmp_path], env=environment, stderr=subprocess.DEVNULL)
    try:
        until(lambda: len(list(tmp_path.glob("*.pid"))) == 2, "both processes to start")
        processes = [int(path.stem) for path in tmp_path.glob("*.pid")]
        assert all(map(is_running, processes))
    finally:
        parent.send_signal(end)
        parent.wait(60)
    until(lambda: not any(map(is_running, processes)), "the processes to end")
