"""The HTTP routes: recognition, model files, health and metrics."""

from __future__ import annotations

import prometheus_client as prometheus
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from mien.errors import shortened
from mien.service import schemas
from mien.service.page import FOR_EVER, REVALIDATED, file_response
from mien.service.state import ServiceState
from mien.service.uploads import read_pictures

ALLOWED = "OPTIONS, POST"
"""The methods of /v1/recognize."""

router = APIRouter()


@router.post(
    "/v1/recognize",
    response_model=schemas.Answer,
    responses={
        200: {"content": {"application/json": {"example": schemas.EXAMPLE}}},
        **{status: {"model": schemas.Refused, "description": reason} for status, reason in schemas.ERRORS.items()},
    },
    openapi_extra={"requestBody": schemas.REQUEST_BODY},
)
async def recognize(request: Request) -> Response:
    """Recognise the expression of every face in one or more pictures, in the order sent.

    If one of several pictures cannot be read, its entry holds an error instead of faces.
    """
    state = _state(request)
    with state.accept_request() as hold:
        pictures = await read_pictures(request, state.settings.limits, hold)
        return JSONResponse({"model": state.model_name, "pictures": await state.recognize(pictures)})


@router.api_route("/v1/recognize", methods=["GET", "HEAD", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def reject_other_methods() -> None:
    """Answers 405. Without this route, the page's static files would match the path and answer 404."""
    raise HTTPException(405, headers={"Allow": ALLOWED})


@router.options("/v1/recognize", include_in_schema=False)
async def options() -> Response:
    """Answers which methods the path accepts."""
    return Response(status_code=204, headers={"Allow": ALLOWED})


@router.get("/v1/models", response_model=schemas.Models)
def models(request: Request) -> Response:
    """The models that a browser may fetch and run, and the settings it needs for that."""
    return JSONResponse(_state(request).model_list)


@router.head("/models/{file}", include_in_schema=False)
@router.get("/models/{file}", response_class=Response, responses={404: {"model": schemas.Refused}})
def model_file(request: Request, file: str) -> Response:
    """A model as an ONNX file, or the face detector, `yunet.onnx` and `centerface.onnx`."""
    model_files = _state(request).model_files
    path = model_files.get(file)
    if path is None:
        raise HTTPException(404, f"there is no model file {shortened(file)}; choose one of {', '.join(model_files)}")
    is_current = request.query_params.get("sha256") == _state(request).digests[file]
    return file_response(path, request.headers, FOR_EVER if is_current else REVALIDATED)


@router.get("/healthz", response_model=schemas.State)
async def healthz() -> Response:
    """Whether the process is alive."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", response_model=schemas.State, responses={503: {"model": schemas.State}})
async def readyz(request: Request) -> Response:
    """Whether the service accepts pictures: 503 while the queue is full, no worker can start, or it shuts down."""
    state = _state(request)
    if state.is_closing:
        return JSONResponse({"status": "shutting down"}, 503)
    if state.batcher.is_full:
        return JSONResponse({"status": "the queue is full"}, 503)
    if state.batcher.is_broken:
        return JSONResponse({"status": "no worker process can start"}, 503)
    return JSONResponse({"status": "ready", "device": state.batcher.device})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(_state(request).metrics.export(), media_type=prometheus.CONTENT_TYPE_LATEST)


def _state(request: Request) -> ServiceState:
    state: ServiceState = request.app.state.service
    return state
