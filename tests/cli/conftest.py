"""Fixtures and helpers for the tests of the command line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import predictions
from mien.types import Predictions

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def unreadable_picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "notes.jpg"
    path.write_text("no picture at all")
    return path


@pytest.fixture(scope="module")
def faceless_picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "mountain.png"
    Image.fromarray(np.tile(np.linspace(0, 255, 200, dtype=np.uint8)[:, None, None], (1, 300, 3))).save(path)
    return path


def assert_sentence(err: str, *words: str) -> None:
    """Checks that the command printed one line of its own that holds these words, and no traceback."""
    assert err.startswith("mien: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert all(word in err for word in words), err


def write_random_predictions(path: Path, seed: int, **metadata: str) -> None:
    """Writes random predictions for the private faces of `fer2013_csv`."""
    index = np.arange(42, 56)
    logits = np.random.default_rng(seed).normal(size=(14, 7)).astype(np.float32)
    predictions.save(Predictions(index, logits, index % 7), path, {"split": "private", "weights": str(seed)} | metadata)


@pytest.fixture
def web() -> Iterator[Callable[[dict[str, bytes]], str]]:
    """Starts a web server that answers these paths with these bytes -> its address."""
    servers = []

    def start(answers: dict[str, bytes]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path in answers else 404)
                self.send_header("Content-Length", str(len(answers.get(self.path, b""))))
                self.end_headers()
                self.wfile.write(answers.get(self.path, b""))

            def log_message(self, *values: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
