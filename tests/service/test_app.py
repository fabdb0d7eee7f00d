"""The application: importing, mounting and stopping it."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import uvicorn
from fastapi import FastAPI

import mien.service
from mien.errors import MissingExtraError
from mien.service import Settings, create_app, serve
from tests.service.conftest import TOKEN, astronaut_form, running
from tests.waiting import LONG_S

pytestmark = pytest.mark.process


def test_app_works_when_mounted_in_another_app(astronaut_record):
    outer = FastAPI()
    outer.mount("/faces", create_app(Settings(token="open-sesame", workers=1)))
    with running(outer) as client:
        assert client.post("/faces/v1/recognize", **astronaut_form()).status_code == 401
        answer = client.post("/faces/v1/recognize", **astronaut_form(), headers=TOKEN)
        assert answer.json()["pictures"] == [astronaut_record]


def test_signal_before_startup_stops_the_server(monkeypatch):
    """uvicorn itself does not handle signals yet at that moment."""
    run_server = uvicorn.Server.run

    def run_after_signal(self, sockets):
        os.kill(os.getpid(), signal.SIGTERM)
        run_server(self, sockets)

    monkeypatch.setattr(uvicorn.Server, "run", run_after_signal)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    second_signal = threading.Timer(LONG_S, os.kill, (os.getpid(), signal.SIGTERM))
    second_signal.start()
    try:
        serve(Settings(port=0, workers=1), lambda url: None)
        assert second_signal.is_alive()
    finally:
        second_signal.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_deprecated_import_path_works_with_a_warning():
    code = "import warnings; warnings.simplefilter('error'); from mien.deploy.serve import create_app"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "DeprecationWarning: mien.deploy.serve is deprecated" in done.stderr
    code = "from mien.deploy.serve import create_app; from mien.service import app; assert create_app is app.create_app"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


def test_missing_serve_extra_gives_one_sentence(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("mien.service.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r"pip install .*\[serve\]'"):
        mien.service.create_app  # noqa: B018


def test_import_of_mien_service_is_lazy():
    code = "import sys, mien.service; print('fastapi' in sys.modules, 'onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
