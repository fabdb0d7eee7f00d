"""Downloading pictures: what servers may do, and the limits."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mien.errors import ImageError
from mien.recognition import fetch as fetching
from mien.recognition.fetch import fetch


class Handler(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        name = self.path.strip("/")
        if name == "silent":
            time.sleep(3)
            return
        if name.startswith("to-"):
            self.send_response(302)
            targets = {
                "to-picture": "/picture",
                "to-loop": "/to-loop",
                "to-file": "file:///etc/passwd",
                "to-ftp": "ftp://a/b",
            }
            self.send_header("Location", targets[name])
            self.end_headers()
            return
        self.send_response(200 if name in ("picture", "short", "endless", "dripping", "stated-large") else 410)
        lengths = {"picture": 7, "short": 100, "stated-large": 10**12}
        if name in lengths:
            self.send_header("Content-Length", str(lengths[name]))
        self.end_headers()
        self.wfile.write(b"picture" if name in ("picture", "short") else b"")
        try:
            while name == "endless":
                self.wfile.write(bytes(1 << 16))
            while name == "dripping":
                self.wfile.write(b".")
                time.sleep(0.05)
        except OSError:  # the caller has gone
            pass

    def log_message(self, *values: object) -> None:
        pass


@pytest.fixture(scope="module")
def root() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", ["picture", "to-picture"])
def test_content_is_returned_also_after_a_redirection(root: str, path: str) -> None:
    assert fetch(f"{root}/{path}") == b"picture"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("gone", "gone cannot be downloaded: the server answered 410 Gone"),
        ("to-loop", "to-loop cannot be downloaded: the server answered 302"),
        ("to-file", "to-file cannot be downloaded: the server answered 302"),
        ("to-ftp", "to-ftp cannot be downloaded: unknown url type: ftp"),
        ("short", "short cannot be downloaded: the connection ended before the end of the file"),
        ("endless", "endless is larger than the 1,000,000 bytes allowed"),
        ("stated-large", "stated-large is larger than the 1,000,000 bytes allowed"),
    ],
)
def test_server_that_does_not_send_a_picture_is_one_sentence(root: str, path: str, sentence: str) -> None:
    with pytest.raises(ImageError) as caught:
        fetch(f"{root}/{path}", max_bytes=1_000_000)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_server_that_drips_is_left_at_the_time_limit(root: str) -> None:
    start_s = time.monotonic()
    with pytest.raises(ImageError, match=r"dripping cannot be downloaded: .* the download took more than 0\.5 s"):
        fetch(f"{root}/dripping", time_limit_s=0.5)
    assert time.monotonic() - start_s < 30  # a busy machine; the server would never end


def test_silent_server_is_left(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SILENCE_S", 0.2)
    with pytest.raises(ImageError, match=r"silent cannot be downloaded: the server was silent for 0\.2 s"):
        fetch(f"{root}/silent")


def test_address_without_a_server_is_one_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (
        f"http://127.0.0.1:{port}/a.jpg",
        "http://",
        "https://",
        "http://[",
        "http://a b/",
        f"http://{'x' * 300}/",
    ):
        with pytest.raises(ImageError) as caught:
            fetch(address)
        assert "cannot be downloaded: " in str(caught.value)
        assert len(str(caught.value)) < 250
