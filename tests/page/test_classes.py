"""A model with other classes than FER2013's seven, in both engines."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from mien.export import page as page_folder
from mien.labels import class_colours
from mien.service import Settings, create_app
from tests.hosting import run
from tests.linear_classifier import SIZE, WriteClassifier
from tests.page.conftest import ASTRONAUT, choose_pictures, download_rows, hosted, open_page

CLASSES = ["bored", "engaged", "somewhere else entirely"]


@pytest.fixture(scope="module")
def model_file(write_classifier: WriteClassifier) -> Path:
    """A model with three invented classes that always prefers `engaged`."""
    return write_classifier(np.zeros((SIZE**2, 3), np.float32), np.float32([0, 3, 0]), classes=CLASSES)


@pytest.fixture(scope="module", params=["browser", "service"])
def url(request: pytest.FixtureRequest, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page with that model, on a static host or with a service."""
    if request.param == "browser":
        folder = tmp_path_factory.mktemp("site")
        page_folder.write(folder, page_folder.find_models([str(model_file)]))
        with hosted(folder) as url:
            yield url
        return
    host = run(create_app(Settings(model=model_file, workers=1)))
    yield host.url
    host.stop()


def test_page_shows_the_classes_and_colours_of_the_model(page: Page, url: str) -> None:
    open_page(page, url)
    if page.locator("#engines").is_visible():
        page.get_by_text("on the service").click()
    choose_pictures(page, [ASTRONAUT])
    expect(page.locator("#message")).to_contain_text("Engaged, 91%")
    expect(page.locator("#bars .label")).to_have_text(CLASSES)
    fills = page.locator("#bars .bar span").evaluate_all("spans => spans.map((span) => span.style.backgroundColor)")
    colours = [tuple(int(value) for value in re.findall(r"\d+", fill)) for fill in fills]
    expected = class_colours(CLASSES).values()
    assert colours == [tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in expected]
    (row,) = download_rows(page)
    assert [name for name in row if name in CLASSES] == CLASSES
    assert row["expression"] == "engaged"
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
