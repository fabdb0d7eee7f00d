"""Access: token, Host and Origin headers, and the headers of every response."""

import json

import pytest
from websockets.exceptions import InvalidStatus

from mien.errors import ConfigError
from mien.export.page import assets
from mien.service import Settings, create_app
from mien.service.access import HEADERS, allowed_hosts
from mien.service.settings import read_tokens
from tests.service.conftest import PICTURE, TOKEN, assert_error, astronaut_form, client_of, running, websocket

pytestmark = pytest.mark.process


def test_request_without_token_gets_401(token_client):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic open-sesame"}):
        for answer in (
            token_client.post("/v1/recognize", **astronaut_form(), headers=headers),
            token_client.get("/v1/models", headers=headers),
        ):
            assert_error(answer, 401, "token")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert token_client.post("/v1/recognize?token=open-sesame", **astronaut_form()).status_code == 401
    assert token_client.post("/v1/recognize", **astronaut_form(), headers=TOKEN).status_code == 200
    for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/", "/models/small.onnx"):
        assert token_client.get(path).status_code == 200, path


def test_websocket_without_token_gets_401(token_client):
    for path, headers in (
        ("/v1/frames?token=open-sesame", {}),
        ("/v1/frames", TOKEN),
    ):
        with websocket(token_client, path, additional_headers=headers) as frames:
            frames.send(PICTURE)
            assert json.loads(frames.recv())["frame"] == 1
    for path in ("/v1/frames", "/v1/frames?token=wrong", "/v1/frames?token="):
        with pytest.raises(InvalidStatus) as rejected, websocket(token_client, path):
            pass
        assert rejected.value.response.status_code == 401
        assert b"token" in rejected.value.response.body


def test_own_model_with_a_shipped_name_needs_the_token(masked, tmp_path):
    own = tmp_path / "small.onnx"
    own.write_bytes(masked.read_bytes())
    with client_of(model=own, token="open-sesame", workers=1) as client:
        assert client.get("/models/small.onnx").status_code == 401
        assert client.get("/models/tiny.onnx").status_code == 200
        assert client.get("/models/small.onnx", headers=TOKEN).content == own.read_bytes()


def test_other_host_gets_421_and_other_origin_403(client):
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example@localhost", "localhost/evil", "", "[bad"):
        assert_error(client.get("/healthz", headers={"Host": host}), 421, "localhost")
    for host in ("localhost", "LOCALHOST:1", "[::1]:8000"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200
    other_program = "http://127.0.0.1:3"  # a page of another program on this machine
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", other_program):
        assert_error(client.post("/v1/recognize", **astronaut_form(), headers={"Origin": origin}), 403, origin)
        with pytest.raises(InvalidStatus) as rejected, websocket(client, origin=origin):
            pass
        assert rejected.value.response.status_code == 403
    with websocket(client, origin=f"http://127.0.0.1:{client.base_url.port}") as frames:
        frames.send(PICTURE)
        assert json.loads(frames.recv())["faces"]


def test_service_on_all_addresses_allows_every_host():
    assert allowed_hosts("0.0.0.0") is None
    assert allowed_hosts("::") is None
    assert "faces.example" in allowed_hosts("Faces.example")
    with client_of(host="0.0.0.0", token="open-sesame", workers=1) as client:
        assert client.get("/healthz", headers={"Host": "faces.example"}).status_code == 200
        headers = TOKEN | {"Host": "faces.example"}
        assert client.get("/v1/models", headers=headers | {"Origin": "https://faces.example"}).status_code == 200
        assert client.get("/v1/models", headers=headers | {"Origin": "https://evil.example"}).status_code == 403


def test_every_response_has_the_isolation_headers(monkeypatch):
    app = create_app(Settings(token="open-sesame", workers=1))
    monkeypatch.setattr(type(app.state.service), "model_list", property(lambda self: 1 / 0))  # a bug
    with running(app) as client:
        page = client.get("/")
        assert "<title>mien</title>" in page.text
        wasm = client.get(f"/{next(name for name in assets() if name.endswith('.wasm'))}")
        assert wasm.headers["Content-Type"] == "application/wasm"
        failed = client.get("/v1/models", headers=TOKEN)
        assert_error(failed, 500, "log")
        missing, wrong_method = client.get("/nothing"), client.put("/healthz")
        assert_error(missing, 404, "/nothing")
        assert_error(wrong_method, 405, "PUT")
        others = [client.get(path) for path in ("/v1/models", "/healthz", "/metrics", "/docs", "/models/small.onnx")]
        for answer in (page, wasm, failed, missing, wrong_method, *others):
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_several_tokens_are_accepted(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("# callers\nfirst-caller\n\n  second-caller  \n")
    with client_of(token="open-sesame", more_tokens=read_tokens(file), workers=1) as client:
        for token, status in (
            ("open-sesame", 200),
            ("first-caller", 200),
            ("second-caller", 200),
            ("# callers", 401),
            ("first", 401),
        ):
            answer = client.get("/v1/models", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status, token


@pytest.mark.parametrize("content", [None, b"", b"# none\n", b"\xff\xfe"])
def test_token_file_without_a_token_raises_config_error(tmp_path, content):
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"the token file .*tokens (cannot be read|has no token)"):
        read_tokens(file)


def test_pages_of_an_allowed_origin_may_call():
    origin, other = "https://app.example", "https://evil.example"
    with client_of(allowed_origins=(origin,), token="open-sesame", workers=1) as client:
        preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        asked = client.options("/v1/recognize", headers=preflight | {"Origin": origin})
        assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (200, origin)
        answer = client.post("/v1/recognize", **astronaut_form(), headers=TOKEN | {"Origin": origin})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
        refused = client.post("/v1/recognize", **astronaut_form(), headers={"Origin": origin})
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, origin)
        with websocket(client, origin=origin, additional_headers=TOKEN) as frames:
            frames.send(PICTURE)
            assert json.loads(frames.recv())["faces"]
        answer = client.post("/v1/recognize", **astronaut_form(), headers=TOKEN | {"Origin": other})
        assert_error(answer, 403, other, "--allow-origin")
        assert "Access-Control-Allow-Origin" not in answer.headers
        asked = client.options("/v1/recognize", headers=preflight | {"Origin": other})
        assert "Access-Control-Allow-Origin" not in asked.headers


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/", "*", "https://*", "https://a b", ""])
def test_bad_allowed_origin_raises_config_error(origin):
    with pytest.raises(ConfigError, match="must be a scheme and a host"):
        Settings(allowed_origins=(origin,))
