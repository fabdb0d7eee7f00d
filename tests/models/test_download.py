from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mien.detection.registry import create_detector
from mien.detection.yunet import YuNet, downloaded_yunet
from mien.errors import WeightsError
from mien.models.download import fetched, open_session

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A server on the loopback: what it gives by path, how much of it before it hangs up, and what was asked for."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: int | None = None
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            if self.path not in state.files:
                self.send_error(404)
                return
            content = state.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: state.cut_after])

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def nothing_left(user_cache: Path) -> bool:
    return not [path for path in user_cache.rglob("*") if path.is_file()]


def test_a_file_is_fetched_once_and_then_taken_from_the_cache(server: Server, user_cache: Path) -> None:
    server.files["/a.onnx"] = CONTENT
    path = fetched(f"{server.url}/a.onnx", SHA256, "a.onnx")
    assert path == user_cache / "weights" / "a.onnx"
    assert path.read_bytes() == CONTENT
    assert fetched(f"{server.url}/a.onnx", SHA256, "a.onnx") == path
    assert server.asked == ["/a.onnx"]


def test_a_damaged_file_in_the_cache_is_fetched_again(server: Server, user_cache: Path) -> None:
    server.files["/a.onnx"] = CONTENT
    path = fetched(f"{server.url}/a.onnx", SHA256, "a.onnx")
    path.write_bytes(CONTENT[:-1])
    assert fetched(f"{server.url}/a.onnx", SHA256, "a.onnx").read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_file_with_another_hash_is_refused_and_leaves_nothing_behind(server: Server, user_cache: Path) -> None:
    server.files["/a.onnx"] = b"something else"
    with pytest.raises(WeightsError, match=f"sha256 must be {SHA256}, got"):
        fetched(f"{server.url}/a.onnx", SHA256, "a.onnx")
    assert nothing_left(user_cache)


def test_a_server_without_the_file_is_named(server: Server, user_cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.onnx cannot be downloaded: .*/a\.onnx answers 404"):
        fetched(f"{server.url}/a.onnx", SHA256, "a.onnx")
    assert nothing_left(user_cache)


def test_without_a_connection_one_sentence_says_what_to_do(server: Server, user_cache: Path) -> None:
    closed = "http://127.0.0.1:9"  # the discard port: nothing listens there
    with pytest.raises(WeightsError, match="connect to the internet and try again, or give the path") as caught:
        fetched(f"{closed}/a.onnx", SHA256, "a.onnx")
    assert "\n" not in str(caught.value)
    assert nothing_left(user_cache)


@pytest.mark.parametrize("url", ["nowhere", "http://", "gopher://x/y", "http://[broken/"])
def test_an_address_that_is_none_is_one_sentence_too(url: str, user_cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.onnx cannot be downloaded"):
        fetched(url, SHA256, "a.onnx")
    assert nothing_left(user_cache)


@pytest.mark.parametrize("cut_after", [0, 1000, len(CONTENT) - 1])
def test_a_download_that_breaks_off_leaves_nothing_behind(cut_after: int, server: Server, user_cache: Path) -> None:
    server.files["/a.onnx"] = CONTENT
    server.cut_after = cut_after
    with pytest.raises(WeightsError, match=f"{cut_after} of {len(CONTENT)} bytes came"):
        fetched(f"{server.url}/a.onnx", SHA256, "a.onnx")
    assert nothing_left(user_cache)


def test_a_cache_that_cannot_be_written_is_named(server: Server, user_cache: Path) -> None:
    user_cache.parent.mkdir(parents=True)
    user_cache.write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match=r"cannot be kept in .*weights.*make that folder writable"):
        fetched(f"{server.url}/a.onnx", SHA256, "a.onnx")


def test_a_missing_or_damaged_model_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is none at"):
        open_session(tmp_path / "none.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(CONTENT)
    with pytest.raises(WeightsError, match=r"damaged\.onnx is no ONNX model") as caught:
        open_session(damaged)
    assert "\n" not in str(caught.value)


def test_yunet_is_fetched_from_the_address_in_the_environment(
    server: Server, user_cache: Path, monkeypatch: pytest.MonkeyPatch, yunet_file: Path
) -> None:
    monkeypatch.setenv("MIEN_YUNET_URL", f"{server.url}/y.onnx")
    server.files["/y.onnx"] = CONTENT
    with pytest.raises(WeightsError, match=r"yunet_s_dynamic\.onnx from .*/y\.onnx is not the file it should be"):
        downloaded_yunet()
    assert nothing_left(user_cache)
    server.files["/y.onnx"] = yunet_file.read_bytes()
    assert isinstance(create_detector("yunet"), YuNet)
    assert (user_cache / "weights" / "yunet_s_dynamic.onnx").read_bytes() == yunet_file.read_bytes()
