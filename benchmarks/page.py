"""Measures the browser page: the time from opening it to the first result, and the time per face.

    python benchmarks/page.py

The page is the static folder of `mien page`, opened in the system's Chromium from a local server. The server sends no
isolation headers, so WebAssembly has one thread. For the first result a picture is chosen as soon as the page has
loaded; each repetition starts with an empty cache. The time per face covers cropping, scaling and the network.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from summary import summary

from mien.export import page as page_folder

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
FACES_MS = """async ([url, times]) => {
    const { BrowserEngine } = await import("./browser.js");
    const { Host } = await import("./host.js");
    const model = { name: "small", file: "models/small.onnx" };
    const engine = await BrowserEngine.open(model, new Host("models.json", null), 1);
    const faces_ms = [];
    let answer = { frame: await createImageBitmap(await (await fetch(url)).blob()) };
    for (let i = 0; i < times; i++) {
        answer = await engine.recogniseFrame(answer.frame);
        faces_ms.push(answer.faces_ms);
    }
    return faces_ms;
}"""
WARM_UP = 20
"""Untimed runs: Chromium first compiles WebAssembly quickly, and later again with optimizations."""


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a log line for each request."""

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


def main() -> None:
    """Serves the page, measures both times, and prints medians and half the interquartile ranges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=7, help="how often the page is opened, after one warm-up")
    parser.add_argument("--faces", type=int, default=100, help="faces to time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_folder.write(Path(folder), page_folder.find_models(["small"]))
        shutil.copy(PHOTOGRAPH, folder)
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        print(f"Chromium {browser.version}, one WebAssembly thread", flush=True)
        seconds = [first_result_s(browser, url) for _ in range(arguments.times + 1)][1:]
        print(f"from opening the page to the first result: {summary(seconds, 's', 2)}", flush=True)
        with browser.new_page() as page:
            page.goto(url)
            page.get_by_text("Ready.").first.wait_for()
            faces_ms = page.evaluate(FACES_MS, [PHOTOGRAPH.name, WARM_UP + arguments.faces])[WARM_UP:]
        print(f"small, per face: {summary(faces_ms, 'ms', 2)}")
        browser.close()
        server.shutdown()


def first_result_s(browser: Browser, url: str) -> float:
    """Opens the page with an empty cache, chooses a picture at once, and waits for its result."""
    with browser.new_context() as context:
        page = context.new_page()
        started = time.perf_counter()
        page.goto(url, wait_until="domcontentloaded")
        page.set_input_files("#picture-files", PHOTOGRAPH)
        page.locator("#message", has_text="Happy").wait_for()
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
