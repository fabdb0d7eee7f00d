"""The engine on the service: what is sent, the token, and a service that stops."""

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import ASTRONAUT, choose_pictures, open_page, read_notice, serve


def test_browser_engine_sends_no_picture(page: Page, service: str) -> None:
    methods, sockets = [], []
    page.on("request", lambda request: methods.append(request.method))
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(service, wait_until="domcontentloaded")
    choose_pictures(page, [ASTRONAUT])  # before any engine is ready
    expect(page.locator("#message")).to_contain_text("Happy")
    expect(page.locator("#privacy")).to_have_text("Pictures stay on this machine.")
    assert set(methods) == {"GET"}
    assert not sockets


def test_every_request_has_the_token(page: Page, service: str) -> None:
    tokens, sockets = {}, []
    page.on(
        "request",
        lambda request: tokens.update({request.url.partition("?")[0]: request.headers.get("authorization")}),
    )
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(f"{service}#token=secret&camera")
    page.get_by_text("on the service").click()
    expect(page.locator("#message")).to_contain_text("Happy")
    expect(page.locator("#speed")).to_contain_text("round trip")
    choose_pictures(page, [ASTRONAUT])
    expect(page.locator("#csv")).to_be_enabled()
    for path in ("v1/models", "models/small.onnx", "models/yunet.onnx", "models/centerface.onnx", "v1/recognize"):
        assert tokens[f"{service}{path}"] == "Bearer secret"
    assert sockets == [f"{service.replace('http', 'ws')}v1/frames?token=secret"]
    assert not any("secret" in url for url in tokens)


@pytest.mark.slow
def test_missing_or_wrong_token_gives_a_sentence(page: Page) -> None:
    host = serve(token="se+cret=")
    page.goto(host.url)
    needs_token = "The service needs a token: add #token=… to the end of the page's address."
    assert read_notice(page) == needs_token
    choose_pictures(page, [ASTRONAUT])
    expect(page.locator("#notice")).to_be_visible()
    assert read_notice(page) == needs_token
    page.goto(f"{host.url}#token=secret")
    expect(page.locator("#notice")).to_contain_text("The service does not accept this token;")
    open_page(page, f"{host.url}#token=se+cret=")
    expect(page.locator("#notice")).to_be_hidden()
    page.goto(f"{host.url}#token=se+cret=&camera")
    expect(page.locator("#message")).to_contain_text("Happy")
    host.stop()


def stop_service_during_camera(page: Page) -> str:
    """Stops a service while it recognises the camera, and returns its address."""
    host = serve()
    open_page(page, host.url)
    page.get_by_text("on the service").click()
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("#message")).to_contain_text("Happy")
    host.stop()
    assert read_notice(page) == "The service does not answer any more."
    return host.url


def test_browser_engine_replaces_a_stopped_service(page: Page) -> None:
    stop_service_during_camera(page)
    expect(page.locator("#speed")).to_contain_text("round trip")
    page.get_by_role("button", name="Recognise in this browser").click()
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#speed")).to_contain_text("ms per face")
    expect(page.locator("#message")).to_contain_text("Happy")


def test_restarted_service_is_used_again(page: Page) -> None:
    port = int(stop_service_during_camera(page).rsplit(":", 1)[1].strip("/"))
    restarted = serve(port=port)
    expect(page.locator("#notice")).to_be_hidden()
    restarted.stop()
