"""Measures the live page: frames per second of films and the camera, bytes and seconds until it is ready.

    python benchmarks/page.py --film film.mp4
    python benchmarks/page.py --film film.mp4 --human human --results results/page.csv

The film shows one face; it is repeated until it is 40 s long. It is also shown four times side by side, half as wide
and high, and as the camera's picture.
The second command measures `@vladmandic/human` too, in a folder where npm has put it:

    npm install --prefix human @vladmandic/human@3.3.6 @tensorflow/tfjs-backend-wasm@4.22.0

human runs on its WASM backend and detects faces and expressions in each frame, without its cache; both pages draw each
frame with its faces. All contestants take turns in each round, in the system's Chromium without a GPU. A rate counts
the frames with an answer after the first seconds. `browser alone` copies and draws each frame without recognising it.

The rates depend on what else the machine does; the CPU time of a frame, in all processes of the browser, hardly does.

`page` is the static folder of `mien page`, whose server sends no isolation headers, so that WebAssembly has one thread;
`page, served` comes from `mien serve`, which sends them.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import math
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from summary import summary

from mien.export import page as page_folder

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
HUMAN_PAGE = Path(__file__).parent / "page_human.html"
COLUMNS = ("contestant", "source", "faces", "unit", "median", "low", "high", "n", "browser", "load", "command")
WARM_UP_S = 6
"""Seconds after the first answer that are not counted: Chromium first compiles WebAssembly quickly, and later again."""
CAMERA_RATE = 30
FILM_S = 40
"""The shortest film: where it starts again, the page searches the whole frame."""


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a log line for each request."""

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@dataclass(frozen=True)
class Film:
    """A film and the number of faces in it.

    Attributes:
        faces: How many faces it shows.
        path: As a video file.
        camera: As a raw file for Chromium's fake camera.
        rate: Its frames per second.
    """

    faces: int
    path: Path
    camera: Path
    rate: float


@dataclass(frozen=True)
class Contestant:
    """What is measured.

    Attributes:
        name: Its name in the table.
        url: The address of its page.
        is_mien: Whether it is the live page, and not a plain page with the functions of `page_human.html`.
    """

    name: str
    url: str
    is_mien: bool = True


def main() -> None:
    """Measures all contestants in turns, prints the results and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", type=Path, required=True, help="a film of one face")
    parser.add_argument("--human", type=Path, help="the folder with human")
    parser.add_argument("--rounds", type=int, default=3, help="how often all contestants take turns")
    parser.add_argument("--seconds", type=float, default=20, help="seconds of each measurement")
    parser.add_argument("--visits", type=int, default=5, help="how often the page is opened")
    parser.add_argument("--results", type=Path, help="the table to write")
    arguments = parser.parse_args()
    table: dict[tuple[str, str, str, str], list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        hosts(Path(folder), arguments) as all_,
    ):
        films = [write_film(arguments.film, Path(folder) / f"film-{side * side}", side) for side in (1, 2)]
        for _ in range(arguments.visits):
            with chromium(playwright) as browser:
                version = browser.version
                for contestant in filter(lambda each: each.is_mien, all_):
                    for measure, value, unit in visits(browser, contestant):
                        table.setdefault((contestant.name, measure, "", unit), []).append(value)
        for round_ in range(arguments.rounds):
            for film in films:
                for source in ("film", "camera"):
                    for contestant in all_:
                        rate, cpu_ms = frames_per_second(playwright, contestant, film, source, arguments.seconds)
                        what = f"round {round_ + 1}, {source} of {film.faces}, {contestant.name}"
                        print(f"{what}: {rate:.1f} frames/s, {cpu_ms:.0f} ms of CPU time a frame", flush=True)
                        key = (contestant.name, f"{source} at {film.rate:.2f} frames/s", str(film.faces))
                        table.setdefault((*key, "frames/s"), []).append(rate)
                        table.setdefault((*key, "ms of CPU time a frame"), []).append(cpu_ms)
    for (name, source, faces, unit), values in table.items():
        print(f"{name}, {source}, faces {faces or '-'}: {summary(values, unit, 2)}")
    if arguments.results:
        write_results(arguments.results, table, f"Chromium {version}")


def write_results(path: Path, table: dict[tuple[str, str, str, str], list[float]], browser: str) -> None:
    """Writes one row per contestant and source."""
    command = " ".join(["python", "benchmarks/page.py", *sys.argv[1:]])
    load = f"{os.getloadavg()[2]:.1f}"  # over the last 15 minutes, with that of the benchmark itself
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (name, source, faces, unit), values in table.items():
            numbers = [f"{each:.2f}" for each in (statistics.median(values), min(values), max(values))]
            writer.writerow([name, source, faces, unit, *numbers, len(values), browser, load, command])


@contextlib.contextmanager
def hosts(folder: Path, arguments: argparse.Namespace) -> Iterator[list[Contestant]]:
    """Serves all pages and yields the contestants."""
    from mien.service import Settings, create_app

    page_folder.write(folder / "page", page_folder.find_models(["small"]))
    shutil.copy(HUMAN_PAGE, folder / "human.html")
    contestants = []
    if arguments.human:
        shutil.copytree(arguments.human / "node_modules", folder / "node_modules")
    with files_host(folder) as url:
        contestants.append(Contestant("page", f"{url}page/"))
        if arguments.human:
            contestants.append(Contestant("human", f"{url}human.html#human", False))
        contestants.append(Contestant("browser alone", f"{url}human.html", False))
        with service_host(create_app(Settings(workers=1))) as service_url:
            contestants.insert(1, Contestant("page, served", service_url))
            yield contestants


@contextlib.contextmanager
def files_host(folder: Path) -> Iterator[str]:
    """Serves a folder and yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@contextlib.contextmanager
def service_host(app: object) -> Iterator[str]:
    """Serves an ASGI application in a thread and yields its address."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@contextlib.contextmanager
def chromium(playwright: Playwright, camera: Path | None = None) -> Iterator[Browser]:
    """Starts the system's Chromium, whose camera shows a film."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    if camera:
        arguments.append(f"--use-file-for-fake-video-capture={camera}")
    browser = playwright.chromium.launch(executable_path=path, args=arguments)
    yield browser
    browser.close()


# Loading.


def visits(browser: Browser, contestant: Contestant) -> Iterator[tuple[str, float, str]]:
    """Opens the page with an empty cache and again; yields measure, value and unit."""
    with browser.new_context() as context:
        page = context.new_page()
        lengths: list[int] = []
        page.on("response", lambda response: lengths.append(int(response.headers.get("content-length", 0))))
        started = time.perf_counter()
        page.goto(contestant.url, wait_until="domcontentloaded")
        page.set_input_files("#picture-files", PHOTOGRAPH)
        page.locator("#message", has_text="Happy").wait_for()
        yield "first visit, until the first result", time.perf_counter() - started, "s"
        yield "first visit, over the wire", sum(lengths) / 1e6, "MB"
        page.wait_for_timeout(1000)  # until Chromium has stored its compiled code
        started = time.perf_counter()
        page.goto(contestant.url, wait_until="domcontentloaded")
        page.get_by_text("Ready.").first.wait_for()
        yield "second visit, until it is ready", time.perf_counter() - started, "s"


# Frames per second.


def frames_per_second(
    playwright: Playwright, contestant: Contestant, film: Film, source: str, seconds: float
) -> tuple[float, float]:
    """Plays a film in a loop, or opens the camera that shows it.

    Returns:
        The frames with an answer per second, and the CPU time of each in milliseconds.
    """
    with chromium(playwright, film.camera) as browser:
        context = browser.new_context(permissions=["camera"], viewport={"width": 1100, "height": 900})
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(contestant.url)
        open_source(page, contestant, film, source)
        page.wait_for_function("() => window.answers > 0")
        page.wait_for_timeout(1000 * WARM_UP_S)
        before_s = browser_cpu_s()
        count, milliseconds = page.evaluate(
            """async (seconds) => {
                const [before, started] = [window.answers, performance.now()];
                await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
                return [window.answers - before, performance.now() - started];
            }""",
            seconds,
        )
        cpu_s = browser_cpu_s() - before_s
        return 1000 * count / milliseconds, 1000 * cpu_s / max(count, 1)


def browser_cpu_s() -> float:
    """Returns the CPU time of all processes that this one has started, directly or not; Linux only."""
    parents, times_s = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parents[pid] = int(fields[1])
            times_s[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    total_s = 0.0
    for pid, time_s in times_s.items():
        ancestor = parents.get(pid, 0)
        while ancestor not in (0, os.getpid()):
            ancestor = parents.get(ancestor, 0)
        total_s += time_s if ancestor == os.getpid() else 0.0
    return total_s


def open_source(page: Page, contestant: Contestant, film: Film, source: str) -> None:
    """Opens the film or the camera and counts answers in `window.answers`."""
    if not contestant.is_mien:
        page.wait_for_function("() => window.isReady")
        page.set_input_files("#file", film.path if source == "film" else [])
        page.evaluate("(source) => { window.start(source); }", source)  # it never ends
        return
    page.get_by_text("Ready.").first.wait_for()
    page.evaluate(
        """() => {
            document.querySelector("#source").loop = true;
            window.answers = 0;
            const speed = document.querySelector("#speed"); // written once for each answer
            new MutationObserver(() => window.answers++).observe(speed, { childList: true });
        }"""
    )
    if source == "film":
        page.set_input_files("#video-file", film.path)
    else:
        page.get_by_role("button", name="Camera").click()


def write_film(source: Path, target: Path, side: int) -> Film:
    """Writes a film that shows another one `side` x `side` times, as a video file and for Chromium's camera."""
    with av.open(str(source)) as container:
        rate = container.streams.video[0].average_rate
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    height, width = (length // (2 * side) * 2 for length in frames[0].shape[:2])
    images = [av.VideoFrame.from_ndarray(frame).reformat(width, height).to_ndarray(format="rgb24") for frame in frames]
    tiled = [np.tile(image, (side, side, 1)) for image in images]
    path, camera = target.with_suffix(".mp4"), target.with_suffix(".mjpeg")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, width=width * side, height=height * side)
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "fast", "crf": "18"}
        for image in tiled * math.ceil(FILM_S * rate / len(tiled)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    with av.open(str(camera), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=CAMERA_RATE, width=width * side, height=height * side)
        stream.pix_fmt, stream.options = "yuvj420p", {"q:v": "3"}
        for image in tiled:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    return Film(side * side, path, camera, float(rate))


if __name__ == "__main__":
    main()
