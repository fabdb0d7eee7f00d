"""Makes the pictures of the README and of docs/index.md from the public-domain photograph in examples/.

    python tools/draw_readme_pictures.py

It writes into docs/images/:

    astronaut-faces.jpg  the copy that `mien recognize examples/astronaut.jpg -o DIR` writes
    page.jpg             the page of `mien page -o DIR` with that photograph, in headless Chromium

It needs the dev extra and Chromium (on Debian: apt-get install chromium).
"""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parents[1]
ASTRONAUT = ROOT / "examples" / "astronaut.jpg"
IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 150_000
VIEWPORT = {"width": 1000, "height": 700}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a log line for each request."""

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


def main() -> None:
    """Writes both pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        sys.exit("Chromium was not found: install it, on Debian with apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run_mien("recognize", ASTRONAUT, "-o", folder / "faces")
        with Image.open(folder / "faces" / "astronaut-faces.jpg") as annotated:
            save(annotated.convert("RGB"), IMAGES / "astronaut-faces.jpg")
        run_mien("page", "-o", folder / "site")
        save(screenshot(chromium, folder / "site"), IMAGES / "page.jpg")


def run_mien(*arguments: object) -> None:
    """Runs the command line of this interpreter's mien."""
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def screenshot(chromium: str, site: Path) -> Image.Image:
    """Takes a screenshot of the page showing the photograph."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with (
            sync_playwright() as playwright,
            playwright.chromium.launch(executable_path=chromium, args=FLAGS) as browser,
        ):
            page = browser.new_page(viewport=VIEWPORT, color_scheme="light")
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            expect(page.locator("#message")).to_have_text("Ready.", timeout=60_000)
            for _ in range(5):  # the first run is slow, and the page shows how long the last one took
                page.set_input_files("#picture-files", ASTRONAUT)
                expect(page.locator("#csv")).to_be_enabled(timeout=60_000)
                page.wait_for_timeout(1000)  # the bars are animated
            return Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    finally:
        server.shutdown()
        server.server_close()


def save(image: Image.Image, path: Path) -> None:
    """Saves a JPEG file of at most MAX_BYTES."""
    for quality in (90, 85, 80, 70):
        image.save(path, quality=quality, optimize=True)
        if path.stat().st_size <= MAX_BYTES:
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB, quality {quality}")
            return
    sys.exit(f"{path} has {path.stat().st_size} bytes, more than {MAX_BYTES}: make the picture smaller")


if __name__ == "__main__":
    main()
