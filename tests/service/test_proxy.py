"""The documented configuration of nginx, in front of a real `mien serve`."""

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.hosting import serve_process
from tests.service.conftest import PICTURE, astronaut_form
from tests.waiting import LONG_S, until

PAGE = Path(__file__).parents[2] / "docs" / "service.md"
NGINX, OPENSSL = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin"), shutil.which("openssl")
SITE = {"Host": "faces.example", "Origin": "https://faces.example"}

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not (NGINX and OPENSSL), reason="needs nginx and openssl, as apt-get install has them"),
]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The port of nginx with the documented configuration, before a service."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    subprocess.run(
        f"{OPENSSL} req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=faces.example -keyout faces.example.key "
        "-out faces.example.pem".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (block,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with serve_process("--workers", "1", "--allow-origin", "https://faces.example") as (_, client):
        changes = {
            "listen 443": f"listen 127.0.0.1:{port}",
            "/etc/ssl": str(folder),
            "127.0.0.1:8000": f"127.0.0.1:{client.base_url.port}",
        }
        for documented, here in changes.items():
            assert documented in block
            block = block.replace(documented, here)
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr error;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{temporary}{block}}}\n"
        )
        proxy = subprocess.Popen([NGINX, "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.PIPE, text=True)
        try:
            until(lambda: answers(port) or proxy.poll() is not None, "nginx to answer")
            assert proxy.poll() is None, proxy.stderr.read()
            yield port
        finally:
            proxy.terminate()
            proxy.communicate(timeout=LONG_S)


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_picture_and_page_come_through_the_proxy(port):
    with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False, timeout=LONG_S, headers=SITE) as client:
        assert client.post("/v1/recognize", **astronaut_form()).json()["pictures"][0]["faces"]
        assert "<title>mien</title>" in client.get("/").text
        other = client.post("/v1/recognize", **astronaut_form(), headers={"Origin": "https://evil.example"})
        assert other.status_code == 403


def test_websocket_comes_through_the_proxy(port):
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with connect(f"wss://127.0.0.1:{port}/v1/frames", ssl=trusting, origin=SITE["Origin"]) as frames:
        frames.send(PICTURE)
        assert json.loads(frames.recv(LONG_S))["faces"]


def test_caller_with_many_connections_leaves_room_for_others(port):
    half = b"POST /v1/recognize HTTP/1.1\r\nHost: faces.example\r\nContent-Type: application/json\r\n"
    half += b"Content-Length: 99\r\n\r\n{"
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with contextlib.ExitStack() as stack:
        statuses = []
        for _ in range(40):  # requests that the proxy counts, for their bodies do not come
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", port), LONG_S))
            connection = stack.enter_context(trusting.wrap_socket(plain))
            connection.sendall(half)
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                statuses.append(connection.recv(12))
        assert statuses.count(b"HTTP/1.1 503") == 8
        other = httpx.HTTPTransport(local_address="127.0.0.2", verify=False)
        with httpx.Client(transport=other, base_url=f"https://127.0.0.1:{port}", timeout=LONG_S) as newcomer:
            assert newcomer.get("/healthz", headers=SITE).status_code == 200
