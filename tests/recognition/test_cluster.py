"""The parts of a list are recognised on a real Ray cluster of two workers, from and to a server that speaks S3."""

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

import mien as package
from mien.data import picture_lists
from mien.errors import ConfigError, MienError
from mien.recognition.batch import FaceRecognizer, recognize_to_file, recognize_to_folder
from mien.recognition.cluster import cluster_cores, connected, on_ray
from mien.recognition.parts import MANIFEST, Counts, PictureList
from tests.recognition import worker_functions
from tests.waiting import until

moto = pytest.importorskip("moto.server", reason="a server that speaks S3 is needed: pip install moto flask flask-cors")

NEEDS_RAY = pytest.mark.skipif(not find_spec("ray"), reason="Ray is needed: pip install 'mien[cluster]'")
pytestmark = [pytest.mark.slow, NEEDS_RAY]

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "examples" / "astronaut.jpg"
MILLION = """
import json, sys, time
from functools import partial
from mien.data.picture_lists import find
from mien.recognition.batch import recognize_to_folder
from mien.recognition.cluster import connected, on_ray
from mien.recognition.parts import PictureList
from tests.recognition.worker_functions import NullRecognizer

if __name__ == "__main__":
    _, address, listed, output = sys.argv
    started = time.perf_counter()
    pictures = PictureList(find([listed]), 10_000)
    planned = time.perf_counter() - started
    with connected(address):
        total = recognize_to_folder(pictures, output, NullRecognizer(), partial(on_ray, workers=2), lambda counts: None)
    # getrusage would count the memory of the test runner, too.
    mib = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")) / 1024
    print(json.dumps({"planned_s": planned, "mib": mib, "pictures": total.pictures}))
"""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="module", autouse=True)
def s3():
    """The S3 server and the cluster's token in the environment of this process, which Ray reads when it is imported."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_raylet_start_wait_time_s", "120")  # a busy machine takes longer than Ray's 30 s
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("photos")
        yield s3fs.S3FileSystem()
    server.stop()


@pytest.fixture(scope="module")
def cluster(s3):
    """A running cluster with two CPUs -> its address, and the address for Ray's client."""
    port, client_port = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="mien-ray-", dir="/tmp")  # Ray's sockets need a short path
    words = ["start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    words += [f"--port={port}", f"--ray-client-server-port={client_port}", f"--temp-dir={folder}"]
    words.append(f"--object-store-memory={100 << 20}")
    command = [sys.executable, "-m", "ray.scripts.scripts", *words]
    log = Path(folder, "start.log")
    with log.open("w") as output:
        head = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def accepts(port):
        assert head.poll() is None, log.read_text()[-2000:]
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(lambda: accepts(port) and accepts(client_port), "the cluster to start", 240)
        yield f"127.0.0.1:{port}", f"ray://127.0.0.1:{client_port}"
    finally:
        head.terminate()
        head.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def driver(cluster):
    """Connects this process to the cluster."""
    with connected(cluster[0]):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve files: the astronaut in ten sizes, a picture without a face, and a file that is not a picture."""
    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(ASTRONAUT) as astronaut:
        for i in range(10):
            astronaut.resize((200 + 10 * i, 200 + 10 * i)).save(folder / f"{i}.jpg")
    Image.new("RGB", (64, 48), "gray").save(folder / "faceless.png")
    (folder / "notes.jpg").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory):
    """What one process writes for the folder, without the paths."""
    output = tmp_path_factory.mktemp("expected") / "faces.parquet"
    recognize_to_file(pictures_of(folder), output, FaceRecognizer(), 1, lambda counts: None)
    return without_paths(parquet.read_table(output))


def pictures_of(*names, size=5):
    return PictureList(picture_lists.find(map(str, names)), size)


def without_paths(table):
    """Returns a table with the name of each picture, and only whether it has an error."""
    rows = table.to_pylist()
    for row in rows:
        row["path"] = row["path"].rpartition("/")[2]
        row["error"] = row["error"] is not None
    return rows


def mien(*words, **environment):
    command = [sys.executable, "-m", "mien", "recognize", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


def test_actors_run_all_tasks_and_bear_names(driver):
    assert cluster_cores() == 2
    outcomes = on_ray(worker_functions.process_of_each, range(6), 2)
    first = next(outcomes)
    import ray

    assert {actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)} <= {"mien-1", "mien-2"}
    results = [first.result, *(outcome.result for outcome in outcomes)]
    assert sorted(task for task, _ in results) == list(range(6))
    assert os.getpid() not in {process for _, process in results}


def test_killed_worker_costs_its_task_alone(driver, tmp_path):
    outcomes = list(on_ray(partial(worker_functions.killed_once, tmp_path), range(2), 2))
    assert sorted(outcome.result for outcome in outcomes) == [0, 1]
    outcomes = {outcome.task: outcome for outcome in on_ray(worker_functions.failing, ["raise", "exit", "x"], 2)}
    assert outcomes["x"].result == "x"
    assert outcomes["raise"].error == "ValueError: this task is wrong"
    assert outcomes["exit"].error.startswith("its worker died: ")


def test_worker_that_cannot_start_is_an_error(driver):
    with pytest.raises(MienError, match="a worker cannot start: there is no such model"):
        list(on_ray(worker_functions.refusing_to_start, range(2), 1))


def test_worker_with_another_version_is_an_error(driver, monkeypatch):
    installed = package.__version__
    monkeypatch.setattr(package, "__version__", "9.9")
    with pytest.raises(ConfigError, match=f"must have mien 9.9, as this machine has, got {installed}"):
        list(on_ray(worker_functions.process_of_each, range(2), 1))


def test_pictures_in_s3_become_a_dataset_in_s3_that_other_jobs_cannot_use(driver, s3, folder, expected):
    s3.put(f"{folder}/", "photos/album", recursive=True)

    def recognize(pictures, faces=FaceRecognizer(), workers=0, output="s3://photos/faces"):  # noqa: B008
        return recognize_to_folder(
            pictures_of(pictures), output, faces, partial(on_ray, workers=workers), lambda counts: None
        )

    assert recognize("s3://photos/album", workers=2) == Counts(12, 10, 1)
    names = sorted(path.rpartition("/")[2] for path in s3.ls("photos/faces", detail=False))
    assert names == [MANIFEST, *(f"part-00000000{i}.parquet" for i in range(3))]
    table = parquet.read_table("photos/faces", filesystem=s3)
    assert without_paths(table) == expected
    assert table["path"][0].as_py() == "s3://photos/album/0.jpg"
    about = json.loads(s3.cat(f"photos/faces/{MANIFEST}"))
    assert (about["pictures"], about["parts"], about["model"]) == (12, 3, "small")
    assert recognize("s3://photos/album") == Counts(12, 10, 1)  # nothing is left to do for the 0 workers
    with pytest.raises(ConfigError, match="s3://photos/faces holds results of other pictures"):
        recognize("s3://photos/album/*.jpg")
    with pytest.raises(ConfigError, match="s3://photos/faces holds results of another model"):
        recognize("s3://photos/album", FaceRecognizer("tiny"))
    with pytest.raises(ConfigError, match=r"s3://photos/album holds 0\.jpg but no _manifest\.json"):
        recognize("s3://photos/album", output="s3://photos/album")


def test_missing_objects_and_silent_servers_are_rows(driver, tmp_path):
    faces, workers = FaceRecognizer(), partial(on_ray, workers=1)
    pictures = PictureList(["s3://photos/gone.jpg", str(ASTRONAUT), "http://127.0.0.1:9/a.jpg"], 3)
    assert recognize_to_folder(pictures, tmp_path / "faces", faces, workers, lambda counts: None) == Counts(3, 1, 2)
    rows = parquet.read_table(tmp_path / "faces").to_pylist()
    assert rows[0]["error"] == "s3://photos/gone.jpg cannot be read as a picture: there is no such file"
    assert rows[1]["expression"] == "happy"
    assert "http://127.0.0.1:9/a.jpg" in rows[2]["error"]


def test_part_that_always_kills_its_worker_becomes_rows_with_the_reason(driver, folder, tmp_path):
    (tmp_path / "crash.jpg").write_bytes(b"")
    pictures = pictures_of(folder, tmp_path / "crash.jpg", size=4)
    workers = partial(on_ray, workers=2)
    total = recognize_to_folder(pictures, tmp_path / "faces", worker_functions.CrashingRecognizer(), workers, print)
    assert total == Counts(13, 10, 2, failed_parts=1)
    rows = pd.read_parquet(tmp_path / "faces")
    (reason,) = rows[rows["path"].str.endswith("crash.jpg")]["error"]
    assert reason.startswith("the part with this picture failed 3 times: its worker died: ")


def test_killed_driver_is_run_again_without_repeating_or_losing_a_part(cluster, folder, expected, tmp_path):
    many = tmp_path / "list.txt"
    many.write_text("".join(f"{path}\n" for path in sorted(folder.iterdir()) * 8))
    output = tmp_path / "faces"
    words = (many, "-o", output, "--part", 4)
    killed = mien(*words, "--on", cluster[0])
    until(lambda: list(output.glob("part-*.parquet")), "the first part", 300)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    finished = {path: path.stat().st_mtime_ns for path in output.glob("part-*.parquet")}
    assert 0 < len(finished) < 24
    for _ in range(3):  # on a busy machine, Ray's client sometimes gives up before its server has started
        again = mien(*words, "--on", cluster[1], "--workers", 2)
        out, err = again.communicate(timeout=300)
        if out:
            break
    assert again.returncode == 2, err  # some pictures cannot be read
    assert f"written: {output}, 96 pictures; 8 could not be read: see the column error" in out, err
    assert len(list(output.glob("part-*.parquet"))) == 24
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert without_paths(parquet.read_table(output)) == 8 * expected


def test_a_million_paths_are_planned_in_little_memory(cluster, tmp_path):
    listed = tmp_path / "list.txt"
    with listed.open("w") as lines:
        lines.writelines(f"s3://photos/of/a/whole/country/{number:09}.jpg\n" for number in range(10**6))
    script = tmp_path / "million.py"
    script.write_text(MILLION)
    words = [sys.executable, script, cluster[0], listed, tmp_path / "faces"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["pictures"] == 10**6
    assert measured["mib"] < 500
    assert measured["planned_s"] < 60
    assert sum(parquet.read_metadata(path).num_rows for path in (tmp_path / "faces").glob("part-*")) == 10**6


def test_ray_data_maps_batches_of_paths_to_faces(driver, folder, expected):
    import ray.data

    paths = pyarrow.table({"path": sorted(map(str, folder.iterdir()))})
    faces = ray.data.from_arrow(paths).map_batches(
        FaceRecognizer, fn_constructor_kwargs={"model": "small"}, batch_format="pyarrow", batch_size=4, concurrency=2
    )
    table = pyarrow.concat_tables(ray.get(faces.to_arrow_refs())).sort_by("path")
    assert without_paths(table) == expected
