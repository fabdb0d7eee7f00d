"""Tests of downloads into the user's cache, against a server on the loopback interface."""

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
from mien.models.download import download

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A server on the loopback interface.

    Attributes:
        url: Its address.
        files: Content by path.
        cut_after: Bytes after which it closes the connection; None sends the whole file.
        requests: The paths that were requested.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: int | None = None
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
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


def is_empty(user_cache: Path) -> bool:
    return not [path for path in user_cache.rglob("*") if path.is_file()]


def test_second_download_uses_the_cache(server: Server, user_cache: Path) -> None:
    server.files["/a.onnx"] = CONTENT
    path = download(f"{server.url}/a.onnx", SHA256, "a.onnx")
    assert path == user_cache / "weights" / "a.onnx"
    assert path.read_bytes() == CONTENT
    assert download(f"{server.url}/a.onnx", SHA256, "a.onnx") == path
    assert server.requests == ["/a.onnx"]


def test_damaged_cached_file_is_downloaded_again(server: Server, user_cache: Path) -> None:
    server.files["/a.onnx"] = CONTENT
    path = download(f"{server.url}/a.onnx", SHA256, "a.onnx")
    path.write_bytes(CONTENT[:-1])
    assert download(f"{server.url}/a.onnx", SHA256, "a.onnx").read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_wrong_sha256_raises_and_leaves_no_file(server: Server, user_cache: Path) -> None:
    server.files["/a.onnx"] = b"something else"
    with pytest.raises(WeightsError, match=f"must have the sha256 {SHA256}, got"):
        download(f"{server.url}/a.onnx", SHA256, "a.onnx")
    assert is_empty(user_cache)


def test_http_404_names_file_and_url(server: Server, user_cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.onnx cannot be downloaded: .*/a\.onnx answers 404"):
        download(f"{server.url}/a.onnx", SHA256, "a.onnx")
    assert is_empty(user_cache)


def test_refused_connection_says_what_to_do(server: Server, user_cache: Path) -> None:
    closed = "http://127.0.0.1:9"  # the discard port: nothing listens there
    with pytest.raises(WeightsError, match="connect to the internet and try again, or give the path") as caught:
        download(f"{closed}/a.onnx", SHA256, "a.onnx")
    assert "\n" not in str(caught.value)
    assert is_empty(user_cache)


@pytest.mark.parametrize("url", ["nowhere", "http://", "gopher://x/y", "http://[broken/"])
def test_invalid_url_raises_weights_error(url: str, user_cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.onnx cannot be downloaded"):
        download(url, SHA256, "a.onnx")
    assert is_empty(user_cache)


@pytest.mark.parametrize("cut_after", [0, 1000, len(CONTENT) - 1])
def test_interrupted_download_leaves_no_file(cut_after: int, server: Server, user_cache: Path) -> None:
    server.files["/a.onnx"] = CONTENT
    server.cut_after = cut_after
    with pytest.raises(WeightsError, match=f"stopped after {cut_after} of {len(CONTENT)} bytes"):
        download(f"{server.url}/a.onnx", SHA256, "a.onnx")
    assert is_empty(user_cache)


def test_unwritable_cache_is_named(server: Server, user_cache: Path) -> None:
    user_cache.parent.mkdir(parents=True)
    user_cache.write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match=r"cannot be stored in .*weights.*make that folder writable"):
        download(f"{server.url}/a.onnx", SHA256, "a.onnx")


def test_yunet_is_downloaded_from_the_url_in_the_environment(
    server: Server, user_cache: Path, monkeypatch: pytest.MonkeyPatch, yunet_file: Path
) -> None:
    monkeypatch.setenv("MIEN_YUNET_URL", f"{server.url}/y.onnx")
    server.files["/y.onnx"] = CONTENT
    with pytest.raises(WeightsError, match=r"yunet_s_dynamic\.onnx from .*/y\.onnx must have the sha256"):
        downloaded_yunet()
    assert is_empty(user_cache)
    server.files["/y.onnx"] = yunet_file.read_bytes()
    assert isinstance(create_detector("yunet"), YuNet)
    assert (user_cache / "weights" / "yunet_s_dynamic.onnx").read_bytes() == yunet_file.read_bytes()
