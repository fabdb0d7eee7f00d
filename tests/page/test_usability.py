"""Keyboard, narrow screens and themes."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.page.conftest import choose_pictures, open_page

OUTLINE = "element => getComputedStyle(element).outlineStyle"


def test_page_works_with_the_keyboard_alone(page: Page, site: str, picture_files: list[Path]) -> None:
    open_page(page, site)
    for id_ in ("theme", "camera", "pictures", "video"):
        page.keyboard.press("Tab")
        expect(page.locator(f"#{id_}")).to_be_focused()
        assert page.locator(f"#{id_}").evaluate(OUTLINE) == "solid"
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")

    choose_pictures(page, picture_files[:1])
    expect(page.locator("#heading")).to_have_text(re.compile(r"Face \d of 4"))
    page.locator("#stage input:checked").focus()
    before = page.inner_text("#heading")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#heading")).not_to_have_text(before)
    outline = page.locator("#stage label:has(:focus-visible)").evaluate(OUTLINE)
    assert outline == "solid"
    number = re.findall(r"\d", page.inner_text("#heading"))[0]
    assert page.locator("#stage input:checked").get_attribute("value") == number


def test_page_fits_narrow_screens(page: Page, service: str, picture_files: list[Path]) -> None:
    open_page(page, service)
    choose_pictures(page, picture_files[1:])
    expect(page.locator("#strip .done")).to_have_count(len(picture_files) - 1)
    for width in (320, 360, 700, 1280):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 320, "height": 700})
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("#message")).to_contain_text("Happy")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320


def test_theme_follows_the_system(page: Page, site: str) -> None:
    page.goto(site)
    brightness = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("() => localStorage.clear()")
        page.reload()
        colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        brightness.append(sum(int(value) for value in re.findall(r"\d+", colour)[:3]))
    assert brightness[0] > 600
    assert brightness[1] < 100
