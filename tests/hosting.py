"""Serves an application on a free port of this machine, in this process or in its own, for tests that call it."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

import httpx
import uvicorn
from fastapi import FastAPI

from tests.waiting import LONG_S, until


class Host(NamedTuple):
    """A running server: its address, and a function that stops it."""

    url: str
    stop: Callable[[], None]


def run(app: FastAPI, port: int = 0) -> Host:
    """Starts a server in a thread and waits until it accepts calls; port 0 takes a free one."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive(), "the server to start")
    assert server.started, f"the server could not start at port {port}"
    port = server.servers[0].sockets[0].getsockname()[1]

    def stop() -> None:
        server.should_exit = True
        thread.join(LONG_S)
        assert not thread.is_alive(), "the server does not stop"

    return Host(f"http://127.0.0.1:{port}/", stop)


@contextmanager
def serve_process(*options, **environment):
    """Runs `mien serve` in its own process and yields the process and a client."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "serve", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        url = re.search(r"http://\S+?(?=,)", process.stdout.readline())[0]
        with httpx.Client(base_url=url, timeout=LONG_S) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()
