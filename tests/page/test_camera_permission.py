"""The camera: permission that comes late, is denied, or is withdrawn."""

import contextlib
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.conftest import ASTRONAUT, choose_pictures, drop_file, open_page, read_notice

CAMERA_ENDED = "() => window.stream?.getTracks().every(({ readyState }) => readyState === 'ended')"


@pytest.fixture
def prompt(page: Page, site: str) -> Page:
    """The page while the browser asks for the camera; the script `answer(permitted)` answers for the user."""
    page.add_init_script(
        """
        const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (constraints) => {
            const permitted = await new Promise((resolve) => (window.answer = resolve));
            if (!permitted) throw new DOMException("", "NotAllowedError");
            window.stream = await real(constraints);
            return window.stream;
        };
        """
    )
    open_page(page, site).get_by_role("button", name="Camera").click()
    expect(page.locator("#message")).to_have_text("Opening the camera…")
    return page


def test_late_permission_does_not_disturb_the_video(prompt: Page, video_file: Path) -> None:
    drop_file(prompt, video_file, "video/webm")
    expect(prompt.locator("#message")).to_contain_text("Happy")
    prompt.evaluate("answer(true)")
    prompt.wait_for_function(CAMERA_ENDED)
    assert prompt.evaluate("() => document.querySelector('#source').srcObject") is None
    expect(prompt.get_by_role("button", name="Play")).to_be_visible()  # the video has ended
    prompt.get_by_label("Position in the video").fill("1")
    expect(prompt.locator("#clock")).to_have_text("0:01 / 0:02")


def test_late_denial_does_not_disturb_the_picture(prompt: Page) -> None:
    choose_pictures(prompt, [ASTRONAUT])
    expect(prompt.locator("#message")).to_contain_text("Happy")
    prompt.evaluate("answer(false)")
    prompt.wait_for_timeout(200)
    expect(prompt.locator("#message")).to_contain_text("Happy")
    expect(prompt.locator("#notice")).to_be_hidden()


def test_camera_stopped_before_its_permission_stays_off(prompt: Page) -> None:
    prompt.get_by_role("button", name="Stop camera").click()
    expect(prompt.locator("#message")).to_have_text("The camera is off.")
    prompt.evaluate("answer(true)")
    prompt.wait_for_function(CAMERA_ENDED)
    expect(prompt.locator("#message")).to_have_text("The camera is off.")


def test_disconnected_camera_gives_a_sentence(prompt: Page) -> None:
    prompt.evaluate("answer(true)")
    expect(prompt.locator("#message")).to_contain_text("Happy")
    prompt.evaluate("stream.getTracks()[0].dispatchEvent(new Event('ended'))")
    assert read_notice(prompt) == "The camera was disconnected; connect it and press Camera again."
    prompt.wait_for_timeout(1000)  # until the last frame has its answer
    expect(prompt.locator("#notice")).to_be_visible()
    expect(prompt.get_by_role("button", name="Camera")).to_have_text("Camera")


def test_denied_camera_gives_a_sentence(browser: Browser, site: str) -> None:
    with browser.new_context() as context:
        page = open_page(context.new_page(), site)
        page.get_by_role("button", name="Camera").click()
        assert read_notice(page).startswith("The camera was not permitted;")
        expect(page.get_by_role("button", name="Camera")).to_have_text("Camera")
        choose_pictures(page, [ASTRONAUT])
        expect(page.locator("#message")).to_contain_text("Happy")
        expect(page.locator("#notice")).to_be_hidden()


def test_missing_camera_gives_a_sentence(chromium: str, browser: Browser, site: str) -> None:
    with contextlib.closing(browser.browser_type.launch(executable_path=chromium, args=["--no-sandbox"])) as bare:
        page = bare.new_context(permissions=["camera"]).new_page()
        page.goto(site)
        page.get_by_role("button", name="Camera").click()
        assert read_notice(page) == "No camera was found; connect one and press Camera again."
