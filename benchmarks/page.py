"""Times what a person waits for in the page: from opening it to the first result, and a face.

    python benchmarks/page.py

The page is the static folder of `mien page`, from a server of this machine that sends no isolation headers, so that
WebAssembly has one thread, in the system's Chromium. The first result is that of a picture that is chosen as soon as
the page is there; each time is a new person's, with nothing in the cache. The time of a face is that of the whole
classifying: cutting it out, scaling it, running the network.
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
"""Runs that are not counted: Chromium first compiles WebAssembly fast, and then again, well."""


class Quiet(SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def main() -> None:
    """Serves the page, times both, and prints medians and quartiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=7, help="openings of the page, after one that is not counted")
    parser.add_argument("--faces", type=int, default=100, help="faces to time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_folder.write(Path(folder), page_folder.find_models(["small"]))
        shutil.copy(PHOTOGRAPH, folder)
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
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
        print(f"small, a face: {summary(faces_ms, 'ms', 2)}")
        browser.close()
        server.shutdown()


def first_result_s(browser: Browser, url: str) -> float:
    """Opens the page as somebody who never saw it, chooses a picture at once, and waits for what it shows."""
    with browser.new_context() as context:
        page = context.new_page()
        started = time.perf_counter()
        page.goto(url, wait_until="domcontentloaded")
        page.set_input_files("#picture-files", PHOTOGRAPH)
        page.locator("#message", has_text="Happy").wait_for()
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
