"""Models on the Hugging Face Hub, downloaded from and uploaded to a local server that speaks its API."""

import json
import os
import subprocess
import sys

import pytest

from mien.errors import WeightsError
from mien.models import hub
from mien.models.zoo import find_model
from tests.cli.conftest import ASTRONAUT, assert_sentence
from tests.hub_server import Hub

TINY = find_model("tiny")
pytestmark = pytest.mark.slow  # each call is a process


@pytest.fixture
def server():
    hub_server = Hub()
    yield hub_server
    hub_server.stop()


@pytest.fixture
def mien_there(server, tmp_path):
    """Runs a mien command whose hub is the server, in a process, since the hub's client reads its address once."""

    def run(*words, **variables):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        environment |= {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hub")} | variables
        command = [sys.executable, "-m", "mien", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return done.returncode, done.stdout, done.stderr

    return run


def recognize(mien_there, address, **variables):
    return mien_there("recognize", ASTRONAUT, "--json", "--threads", 1, "--model", address, **variables)


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_pinned_file_is_fetched_once_and_then_read_without_the_hub(server, mien_there):
    commit = server.add("ada/faces", tiny__onnx=TINY.read_bytes())
    address = f"hf://ada/faces@{commit}/tiny.onnx"
    code, out, err = recognize(mien_there, address)
    assert (code, json.loads(out)[0]["faces"][0]["expression"]) == (0, "happy"), err
    asked = len(server.requests)
    server.stop()
    assert recognize(mien_there, address)[:2] == (0, out)
    assert len(server.requests) == asked


def test_newest_file_is_fetched_and_its_commit_printed(server, mien_there):
    server.add("ada/faces", tiny__onnx=b"an older file")
    commit = server.add("ada/faces", tiny__onnx=TINY.read_bytes())
    code, _, err = mien_there("recognize", ASTRONAUT, "--model", "hf://ada/faces/tiny.onnx", "--verbose")
    assert code == 0
    assert f"is at commit {commit}: hf://ada/faces@{commit}/tiny.onnx is always this file" in err


def test_only_the_named_file_is_downloaded(server, mien_there, tmp_path):
    server.add("ada/faces", tiny__onnx=TINY.read_bytes(), mien__py=b"raise SystemExit", config__json=b"{}")
    assert recognize(mien_there, "hf://ada/faces/tiny.onnx")[0] == 0
    assert {path.rpartition("/")[2] for path in server.requests} == {"tiny.onnx"}
    assert not list((tmp_path / "hub").rglob("*.py"))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf://ada/faces/gone.onnx", "the repository has no such file"),
        ("hf://ada/gone/tiny.onnx", "there is no such repository, or it is private"),
        (f"hf://ada/faces@{'0' * 40}/tiny.onnx", "the repository has no such revision"),
        ("hf://ada/faces/model.pt", "must be hf://OWNER/REPO/FILE.onnx"),
        ("hf://ada/tiny.onnx", "must be hf://OWNER/REPO/FILE.onnx"),
        ("hf://ada/faces/../../tiny.onnx", "must be hf://OWNER/REPO/FILE.onnx"),
    ],
)
def test_wrong_address_gives_one_sentence(server, mien_there, address, words):
    server.add("ada/faces", tiny__onnx=TINY.read_bytes(), model__pt=b"")
    code, out, err = recognize(mien_there, address)
    assert (code, out) == (2, "")
    assert_sentence(err, words)


def test_no_network_gives_one_sentence(server, mien_there):
    server.stop()
    for variables in ({}, {"HF_HUB_OFFLINE": "1"}):
        code, _, err = recognize(mien_there, "hf://ada/faces/tiny.onnx", **variables)
        assert code == 2
        assert_sentence(err, "the hub cannot be reached, and the cache does not have it")


def test_interrupted_download_gives_one_sentence_and_leaves_no_model(server, mien_there, tmp_path):
    server.add("ada/faces", tiny__onnx=TINY.read_bytes())
    server.cut = 1000
    code, _, err = recognize(mien_there, "hf://ada/faces/tiny.onnx")
    assert code == 2
    assert_sentence(err, "cannot be fetched")
    assert not list((tmp_path / "hub").rglob("tiny.onnx"))
    server.cut = 0
    assert recognize(mien_there, "hf://ada/faces/tiny.onnx")[0] == 0


def test_content_with_another_digest_is_refused_and_removed(server, mien_there, tmp_path):
    server.add("ada/faces", tiny__onnx=TINY.read_bytes())
    server.etag = lambda content: "0" * 64
    code, _, err = recognize(mien_there, "hf://ada/faces/tiny.onnx")
    assert code == 2
    assert_sentence(err, "has another digest than the hub says, and was removed")
    assert not [path for path in files_below(tmp_path / "hub") if path.stat().st_size > 1000]


def test_private_repository_is_read_with_the_token(server, mien_there):
    server.token = "hf_secret"
    server.add("ada/faces", tiny__onnx=TINY.read_bytes())
    assert recognize(mien_there, "hf://ada/faces/tiny.onnx")[0] == 2
    code, _, err = recognize(mien_there, "hf://ada/faces/tiny.onnx", HF_TOKEN="hf_secret")
    assert code == 0, err


def test_pushed_file_can_be_recognized_with_and_has_a_card(server, mien_there):
    code, out, err = mien_there("push", "tiny", "ada/new", HF_TOKEN="hf_x")
    assert code == 0, err
    (commit,) = server.commits["ada/new"]
    address = f"hf://ada/new@{commit}/tiny.onnx"
    assert out == f"uploaded: {address}\n"
    files = server.commits["ada/new"][commit]
    assert files["tiny.onnx"] == TINY.read_bytes()
    card = files["README.md"].decode()
    assert "mien recognize photo.jpg --model hf://ada/new/tiny.onnx" in card
    assert "| private-single |" in card
    assert recognize(mien_there, address)[0] == 0


def test_push_leaves_a_card_that_is_there_and_takes_one_that_is_given(server, mien_there, tmp_path):
    server.commit("ada/faces", {"README.md": b"my card"})
    assert mien_there("push", "tiny", "ada/faces", HF_TOKEN="hf_x")[0] == 0
    assert list(server.commits["ada/faces"].values())[-1]["README.md"] == b"my card"
    card = tmp_path / "card.md"
    card.write_text("another card")
    assert mien_there("push", "tiny", "ada/faces", "--card", card, HF_TOKEN="hf_x")[0] == 0
    assert list(server.commits["ada/faces"].values())[-1]["README.md"] == b"another card"


@pytest.mark.parametrize(
    ("repo", "words"), [("faces", "must be named OWNER/NAME"), ("ada/faces", "cannot be uploaded")]
)
def test_failed_push_gives_one_sentence(server, mien_there, repo, words):
    server.token = "another"
    code, _, err = mien_there("push", "tiny", repo, HF_TOKEN="hf_x")
    assert code == 2
    assert_sentence(err, words)
    assert not server.commits


def test_address_is_parsed():
    assert hub.parse("hf://ada/faces@v1/sub/tiny.onnx") == ("ada/faces", "v1", "sub/tiny.onnx")
    with pytest.raises(WeightsError):
        hub.parse("hf:/ada/faces/tiny.onnx")
