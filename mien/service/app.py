"""The service: pictures in over HTTP or a WebSocket, faces and their expressions out as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import prometheus_client as prometheus
import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Scope

import mien
from mien.cores import usable_cores
from mien.detection import blazeface
from mien.errors import ConfigError, ImageError
from mien.export.page import PAGE, listed
from mien.models.zoo import DEFAULT_MODEL, find_model, shipped_models
from mien.recognition.recognizer import Recognizer
from mien.service import messages
from mien.service.access import Access, Guard, is_loopback, names_of, sentence
from mien.service.batching import Batcher, Limits, Picture, QueueFullError

FRAMES = "/v1/frames"

router = APIRouter()


@dataclass(frozen=True)
class Settings:
    """How a service is run.

    Attributes:
        model: A shipped model's name, or the path of an .onnx file that `mien export` wrote.
        detector: See `mien.detection.registry.create_detector`.
        host: The address to bind to.
        port: Its port; 0 takes a free one.
        token: What callers of /v1 must know; visible ASCII characters, or None.
        open_to_all: Whether to bind to an address that other machines reach although there is no token.
        workers: Threads that recognise.
        batch: Most pictures that one of them takes at once.
        wait_ms: Longest wait for more of them.
        limits: What callers may ask for.

    Raises:
        ConfigError: A value is out of range, or other machines would reach a service without a token.
    """

    model: str | Path = DEFAULT_MODEL
    detector: str = "blazeface"
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    open_to_all: bool = False
    workers: int = field(default_factory=usable_cores)
    batch: int = 4
    wait_ms: float = 2.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.workers < 1 or self.batch < 1 or not self.wait_ms >= 0:
            raise ConfigError(
                "a service needs one worker or more, batches of one picture or more and a wait of 0 ms or more, got "
                f"{self.workers}, {self.batch} and {self.wait_ms:g}"
            )
        if self.token is not None and not (self.token and all("!" <= letter <= "~" for letter in self.token)):
            raise ConfigError("a token must be visible ASCII characters, one or more, without spaces")
        if not (self.token or self.open_to_all or is_loopback(self.host)):
            raise ConfigError(
                f"other machines reach a service at {self.host}: set a token for it in MIEN_TOKEN or with --token, or "
                "let everybody call it with --no-token"
            )


class _Metrics:
    """What /metrics says, in a registry of its own, so that one process may have several services."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "mien_requests", "Answers, those to WebSocket frames too", ("route", "status"), registry=self.registry
        )
        self.seconds = prometheus.Histogram(
            "mien_request_seconds",
            "Time from a request to its answer",
            ("route",),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.pictures = prometheus.Counter(
            "mien_pictures", "Pictures that were recognised or could not be read", ("result",), registry=self.registry
        )
        self.faces = prometheus.Counter("mien_faces", "Faces found", registry=self.registry)
        self.waiting = prometheus.Gauge(
            "mien_queue_pictures", "Pictures that wait for a worker", registry=self.registry
        )
        self.in_work = prometheus.Gauge(
            "mien_in_work", "Requests and frames that are accepted and not answered yet", registry=self.registry
        )
        self.batches = prometheus.Histogram(
            "mien_batch_pictures",
            "Pictures that a worker took at once",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        self.requests.labels(route, status).inc()
        self.seconds.labels(route).observe(seconds)


class _Service:
    """What all routes share.

    Attributes:
        settings: How it is run.
        metrics: What /metrics says.
        batcher: Where pictures go.
        name: The model's.
        in_work: Requests and frames that were accepted and are not answered yet.
        connections: WebSockets that are open.
        most: How many there may be of either: each has a picture or more in the queue or with a worker, or is still
            being read.
        closing: Whether nothing new is accepted.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = _Metrics()
        self.name = find_model(settings.model).stem
        self.batcher = Batcher(
            Recognizer(settings.model, settings.detector, threads=1),
            settings.limits,
            settings.workers,
            settings.batch,
            settings.wait_ms,
            self.metrics.batches.observe,
        )
        self.metrics.waiting.set_function(lambda: self.batcher.waiting)
        self.metrics.in_work.set_function(lambda: self.in_work)
        self.in_work = self.connections = 0
        self.most = settings.limits.queue + settings.workers * settings.batch
        self.closing = False

    @cached_property
    def networks(self) -> dict[str, Path]:
        """The classifiers that a browser may fetch: name -> file."""
        return shipped_models() | {self.name: find_model(self.settings.model)}

    @cached_property
    def files(self) -> dict[str, Path]:
        """All model files that a browser may fetch: file name -> file."""
        return {f"{name}.onnx": path for name, path in self.networks.items()} | {blazeface.MODEL.name: blazeface.MODEL}

    @cached_property
    def described(self) -> dict[str, Any]:
        """The answer of /v1/models."""
        found = listed(self.networks)
        return {"default": self.name, "models": [each | {"file": f"/{each['file']}"} for each in found["models"]]}

    @contextmanager
    def accepted(self) -> Iterator[None]:
        """Counts a request or frame while it is worked on, and ends it when its time is over.

        Raises:
            HTTPException: It is not accepted, or its time is over.
        """
        if self.closing:
            raise HTTPException(503, "the service is shutting down: try again in a second", {"Retry-After": "1"})
        if self.batcher.full or self.in_work >= self.most:  # refused before its pictures fill memory
            raise _overloaded(f"{self.in_work} requests are waiting or being answered already: try again in a second")
        seconds = self.settings.limits.seconds
        self.in_work += 1
        try:
            with anyio.fail_after(seconds):
                yield
        except TimeoutError:
            raise HTTPException(504, f"it took longer than the {seconds:g} s of one request: send less") from None
        finally:
            self.in_work -= 1

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Counts a WebSocket while it is open."""
        self.connections += 1
        try:
            yield
        finally:
            self.connections -= 1

    async def recognize(self, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
        """The answer to each picture.

        Raises:
            HTTPException: So many wait that these are not accepted, or the only one cannot be read.
        """
        try:
            waiting = self.batcher.submit(pictures)
        except QueueFullError as error:
            raise _overloaded(str(error)) from None
        found = await asyncio.gather(*map(asyncio.wrap_future, waiting), return_exceptions=True)
        records = []
        for picture, record in zip(pictures, found, strict=True):
            if isinstance(record, ImageError):
                record = {"name": picture.name, "error": str(record)}
            elif isinstance(record, BaseException):
                raise record
            records.append(record)
            self.metrics.pictures.labels("unreadable" if "error" in record else "recognised").inc()
            self.metrics.faces.inc(len(record.get("faces", ())))
        if len(records) == 1 and "error" in records[0]:
            raise HTTPException(422, records[0]["error"])
        return records


def create_app(settings: Settings | None = None) -> FastAPI:
    """Makes the service as an ASGI application, to be run, mounted in another one or tested.

    Args:
        settings: How it is run; `Settings()` when left out. Who binds its socket must see to `host` and `port`.

    Raises:
        WeightsError: The model or the detector cannot be had.
        ConfigError: There is no such detector.
    """
    settings = settings or Settings()
    service = _Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.closing = True
        await anyio.to_thread.run_sync(service.batcher.close)

    app = FastAPIOffline(
        title="mien",
        version=mien.__version__,
        description="Names the expression on every face of a picture. A face shows an expression; it does not confess "
        f"a feeling.\n\nA WebSocket at `{FRAMES}` takes one encoded picture a message and answers each, in order, with "
        '`{"frame": 1, "width": 640, "height": 480, "faces": [...]}` or `{"frame": 1, "error": "..."}`.',
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(router)
    app.mount("/", _Files(directory=PAGE, html=True))
    app.add_exception_handler(StarletteHTTPException, _refused)
    own = () if find_model(settings.model) == shipped_models().get(service.name) else (f"/models/{service.name}.onnx",)
    access = Access(names_of(settings.host), settings.token, ("/v1/", *own))
    app.add_middleware(Guard, access=access, tell=service.metrics.answered)
    return app


def serve(settings: Settings, tell: Callable[[str], object]) -> None:
    """Runs the service until SIGTERM or Ctrl-C; what it has accepted by then is answered first.

    Args:
        settings: How.
        tell: Called with the service's address once it can be called.

    Raises:
        ConfigError: The address cannot be bound to, or the detector is unknown.
        WeightsError: The model or the detector cannot be had.
    """
    listener = _bound(settings.host, settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_level="warning",  # below it uvicorn would log WebSockets' addresses, which may hold the token
        ws_max_size=2 * settings.limits.request_bytes,  # up to here what is too large gets a sentence
        ws_per_message_deflate=False,  # pictures are compressed already
        timeout_graceful_shutdown=math.ceil(settings.limits.seconds),
        server_header=False,
    )
    url = f"http://{host}:{listener.getsockname()[1]}"
    server = _Server(config, app.state.service, lambda: tell(url))

    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    # Before uvicorn listens to signals itself; it raises them again when it has ended, which is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.run([listener])


class _Files(StaticFiles):
    """Files that a browser keeps but asks for again each time: after an upgrade all of a page must fit together."""

    def file_response(
        self, full_path: PathLike[str] | str, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response


class _Server(uvicorn.Server):
    """uvicorn, but it goes on to say that it is not ready while it answers what it has accepted."""

    def __init__(self, config: uvicorn.Config, service: _Service, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.closing = True
        while self._service.in_work and not self.force_exit:  # a second Ctrl-C
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)  # with its protocol, or asyncio would leave Nagle's delay on
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"the service cannot listen at {host} port {port}: {reason}; choose another port") from None
    return listener


@router.post(
    "/v1/recognize",
    response_model=messages.Answer,
    responses={
        200: {"content": {"application/json": {"example": messages.EXAMPLE}}},
        **{status: {"model": messages.Refused, "description": why} for status, why in messages.REASONS.items()},
    },
    openapi_extra={"requestBody": messages.PICTURES_SENT},
)
async def recognize(request: Request) -> Response:
    """Name the expression on every face of one picture or several, in the order sent.

    Among several, one that cannot be read has its error in place of faces.
    """
    service: _Service = request.app.state.service
    with service.accepted():
        pictures = await messages.pictures_of(request, service.settings.limits)
        return JSONResponse({"model": service.name, "pictures": await service.recognize(pictures)})


@router.api_route("/v1/recognize", methods=["GET", "HEAD", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def recognize_takes_posts() -> None:
    """Says so, where the page's files, which take every other path, would say that there is nothing."""
    raise HTTPException(405, headers={"Allow": "POST"})


@router.websocket(FRAMES)
async def frames(websocket: WebSocket) -> None:
    """One encoded picture a message, one answer each, in order."""
    service: _Service = websocket.app.state.service
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect), service.connected():  # the caller may leave before an answer
        if service.connections > service.most:  # each may have half a frame in memory
            await websocket.close(1013, f"{service.most} others send frames already: try again later")
            return
        for number in itertools.count(1):
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            started, status = time.perf_counter(), 200
            try:
                with service.accepted():
                    answer = await _frame(service, message.get("bytes"))
                    await websocket.send_text(json.dumps({"frame": number, **answer}))
            except HTTPException as refusal:
                status = refusal.status_code
                await websocket.send_text(json.dumps({"frame": number, "error": refusal.detail}))
            service.metrics.answered(FRAMES, status, time.perf_counter() - started)


async def _frame(service: _Service, encoded: bytes | None) -> dict[str, Any]:
    if encoded is None:
        raise HTTPException(415, "each message must be one encoded picture in binary, got text")
    messages.check_byte_count(len(encoded), service.settings.limits.request_bytes, "a picture")
    (record,) = await service.recognize([Picture("the frame", encoded)])
    return {key: record[key] for key in ("width", "height", "faces")}


@router.get("/v1/models", response_model=messages.Models)
def models(request: Request) -> Response:
    """The networks that a browser may fetch and run itself, with all that it needs for that."""
    return JSONResponse(request.app.state.service.described)


@router.head("/models/{file}", include_in_schema=False)
@router.get("/models/{file}", response_class=Response, responses={404: {"model": messages.Refused}})
def model_file(request: Request, file: str) -> Response:
    """A network as an ONNX file, or the detector's, `blazeface_full_range.onnx`."""
    path: Path | None = request.app.state.service.files.get(file)
    if path is None:
        raise HTTPException(
            404, f"there is no model file {file}, there are {', '.join(request.app.state.service.files)}"
        )
    return _Files().file_response(path, path.stat(), request.scope)


@router.get("/healthz", response_model=messages.State)
async def healthz() -> Response:
    """Whether the process lives."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", response_model=messages.State, responses={503: {"model": messages.State}})
async def readyz(request: Request) -> Response:
    """Whether pictures may be sent: not while too many wait, no worker gets on, or the service shuts down."""
    service: _Service = request.app.state.service
    if service.closing:
        return JSONResponse({"status": "shutting down"}, 503)
    if service.batcher.full:
        return JSONResponse({"status": "the queue is full"}, 503)
    if service.batcher.stuck:
        return JSONResponse({"status": "the workers are stuck"}, 503)
    return JSONResponse({"status": "ready"})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Counts and times, for Prometheus."""
    registry = request.app.state.service.metrics.registry
    return Response(prometheus.generate_latest(registry), media_type=prometheus.CONTENT_TYPE_LATEST)


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, StarletteHTTPException)
    texts = {
        404: f"there is nothing at {request.url.path}: see /docs",
        405: f"{request.method} is not what {request.url.path} takes: see /docs",
    }
    known = refusal.detail in ("Not Found", "Method Not Allowed")
    text = texts[refusal.status_code] if known else refusal.detail
    return sentence(refusal.status_code, text, dict(refusal.headers or {}))


def _overloaded(text: str) -> HTTPException:
    return HTTPException(503, text, {"Retry-After": "1"})
