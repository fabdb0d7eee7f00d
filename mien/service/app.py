"""The ASGI application: routes, the page's files, access control and error responses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

import mien
from mien.errors import shortened
from mien.models.zoo import find_model, shipped_models
from mien.service import frames, routes
from mien.service.access import Access, Guard, allowed_hosts
from mien.service.page import PageFiles
from mien.service.responses import error_response
from mien.service.settings import Settings as Settings
from mien.service.state import ServiceState

DESCRIPTION = f"""\
Recognises the expression of every face in a picture. A face shows an expression; it does not confess a feeling.

The WebSocket `{frames.PATH}` takes one encoded picture per message and answers each message, in order, with
`{{"frame": 1, "width": 640, "height": 480, "faces": [...]}}` or `{{"frame": 1, "error": "..."}}`."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Creates the service as an ASGI application, to run, to mount in another application, or to test.

    Args:
        settings: Settings of the service; `Settings()` by default. The server that runs the application chooses the
            address itself; `host` only decides which Host headers are allowed.

    Raises:
        WeightsError: The model or the detector is missing or damaged.
        ConfigError: The detector is unknown.
    """
    settings = settings or Settings()
    state = ServiceState(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        state.is_closing = True
        await anyio.to_thread.run_sync(state.batcher.close)

    app = FastAPIOffline(
        title="mien", version=mien.__version__, description=DESCRIPTION, lifespan=lifespan, redoc_url=None
    )
    app.state.service = state
    app.include_router(routes.router)
    app.include_router(frames.router)
    app.mount("/", PageFiles())
    app.add_exception_handler(HTTPException, _handle_http_exception)
    app.add_middleware(Guard, access=_access(state), on_response=state.metrics.count_response)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "X-Request-Id"),
            expose_headers=("Retry-After", "X-Request-Id"),
        )
    _limit_pictures_in_schema(app, settings.limits.pictures)
    return app


def _access(state: ServiceState) -> Access:
    """The access rules. A model of the user's own needs the token, a shipped model does not."""
    settings = state.settings
    is_shipped = find_model(settings.model) == shipped_models().get(state.model_name)
    own_model = () if is_shipped else (f"/models/{state.model_name}.onnx",)
    return Access(allowed_hosts(settings.host), settings.tokens, ("/v1/", *own_model), settings.allowed_origins)


def _limit_pictures_in_schema(app: FastAPI, max_pictures: int) -> None:
    """Adds the maximum number of pictures to the OpenAPI document."""
    create_document = app.openapi

    def openapi() -> dict[str, Any]:
        document = create_document()
        body = document["paths"]["/v1/recognize"]["post"]["requestBody"]
        for content in body["content"].values():
            content["schema"]["properties"]["pictures"] |= {"minItems": 1, "maxItems": max_pictures}
        return document

    app.openapi = openapi  # type: ignore[method-assign]


async def _handle_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = error.detail
    path = shortened(request.url.path)
    if sentence == "Not Found":
        sentence = f"there is nothing at {path}: see /docs"
    elif sentence == "Method Not Allowed":
        sentence = f"{path} does not accept {shortened(request.method)}: see /docs"
    return error_response(error.status_code, sentence, error.headers)
