"""tools/fuzz gives mien damaged files of a seed, and each kind of fault is counted."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "tools" / "fuzz"
COMMAND = [sys.executable, FUZZ, "--inputs", "12", "--seed", "5", "--kinds", "configs", "--dry"]


def python(code, *words):
    """Runs code beside the modules of tools/fuzz, in a process of its own: the harness forks."""
    code = f"import sys; sys.path.insert(0, {str(FUZZ)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_sound_inputs_end_with_exit_code_0_and_write_no_table_when_dry(tmp_path):
    table = tmp_path / "reliability.csv"
    done = subprocess.run([*COMMAND, "--results", table], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "kind='configs', inputs=12" in done.stdout
    assert "command='python tools/fuzz --inputs 12 --seed 5 --kinds configs')" in done.stdout
    assert not table.exists()


@pytest.mark.slow
def test_fault_in_mien_is_counted_and_gives_exit_code_1(tmp_path):
    """A parser that raises what no command expects must not pass."""
    broken = (
        "import runpy, mien.parsing\n"
        "def raises(text): raise RuntimeError('planted')\n"
        "mien.parsing._check_toml_depth = raises\n"
        f"sys.argv = ['fuzz', *sys.argv[1:]]\nrunpy.run_path({str(FUZZ)!r}, run_name='__main__')"
    )
    faults = tmp_path / "faults.jsonl"
    done = python(broken, *COMMAND[2:], "--faults", faults)
    assert done.returncode == 1, done.stderr
    lines = faults.read_text().splitlines()
    assert len(lines) > 6  # the others are refused before they are parsed
    assert all("planted" in line for line in lines)
    assert f"tracebacks={len(lines)}, " in done.stdout


FAULTS = {
    "raise ValueError": "['traceback', 'exit code']",
    "os.kill(os.getpid(), signal.SIGSEGV)": "['crash']",
    "while True: pass": "['time']",
    "time.sleep(60)": "['time']",
    "print(len(bytearray(200 << 20)))": "['memory']",
    "sys.exit(3)": "['exit code']",
    "sys.exit(2)": "['no sentence']",
    "Path(sys.argv[1], '.mien-x').touch()": "['temporary file']",
    "print('a sentence', file=sys.stderr); sys.exit(2)": "[]",
    "print('a result')": "[]",
}
"""What a case does -> the faults that it must be judged by."""


@pytest.mark.parametrize(("statement", "faults"), FAULTS.items(), ids=FAULTS)
def test_case_is_judged_by_how_it_ends(statement, faults, tmp_path):
    folder = tmp_path / "outputs"
    folder.mkdir()
    code = f"""
import os, signal, time
from pathlib import Path
import harness
harness.MAX_S, harness.MAX_MIB, harness._IDLE_S = 0.2, 150, 2.0
def case():
    {statement}
print(harness.run(harness.Case("case", case, folder=Path(sys.argv[1])), Path(sys.argv[2])).faults)
"""
    done = python(code, folder, tmp_path)
    assert done.stdout == f"{faults}\n", done.stderr


def test_same_seed_gives_the_same_inputs_and_another_seed_others():
    code = (
        "import random, mutate\n"
        "data = bytes(range(256)) * 4\n"
        "def damaged(seed):\n"
        "    r = random.Random(seed)\n"
        "    return [mutate.damaged(data, r, data[::-1]) for _ in range(20)]\n"
        "assert damaged('pictures 1') == damaged('pictures 1') != damaged('pictures 2')\n"
        "assert sum(content != data for _, content in damaged('pictures 1')) > 15\n"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")
