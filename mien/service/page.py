"""Serves the page: its index, its files, which browsers keep for ever, and compressed copies of all of them."""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from mien.export import page

FOR_EVER = "max-age=31536000, immutable"
"""Cache-Control of a file whose address changes with its content. Without `public`, proxies do not keep files that
need a token."""
REVALIDATED = "no-cache"
"""Cache-Control of a file that a browser stores, but asks for again on every use."""
_MEDIA_TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
"""Media types that a system's table may not know, or may know otherwise."""


class PageFiles:
    """The ASGI application of the page."""

    def __init__(self) -> None:
        self._assets = page.assets()
        self._index = page.index(page.SERVICE_LIST).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers GET and HEAD."""
        if scope["type"] != "http":
            raise HTTPException(404)
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        response = await anyio.to_thread.run_sync(self._answer, scope)
        await response(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        headers = Headers(scope=scope)
        name = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")
        if name in ("", "index.html"):
            return content_response(self._index, "text/html", headers)
        path = self._assets.get(name)
        if path is None or path.suffix == page.BROTLI_SUFFIX:
            raise HTTPException(404)
        return file_response(path, headers, FOR_EVER)


def file_response(path: Path, headers: Headers, cache_control: str) -> Response:
    """Makes the response with a file, or with a compressed copy if the caller accepts one.

    Args:
        path: The file. If there is a file with `.br` added to its name, that is its copy in Brotli.
        headers: The headers of the request.
        cache_control: The header Cache-Control of the response.
    """
    media_type = _MEDIA_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    brotli = path.with_name(path.name + page.BROTLI_SUFFIX)
    stat = path.stat()
    tag = hashlib.sha256(f"{stat.st_mtime_ns} {stat.st_size}".encode()).hexdigest()[:16]
    make: Callable[[], Response]
    if accepts(headers, "br") and brotli.exists():
        encoding, make = "br", functools.partial(FileResponse, brotli, media_type=media_type)
    elif accepts(headers, "gzip"):
        content = _gzipped(path, stat.st_mtime_ns)
        encoding, make = "gzip", functools.partial(Response, content, media_type=media_type)
    else:
        encoding, make = "", functools.partial(FileResponse, path, media_type=media_type)
    return _response(make, headers, tag, encoding, cache_control)


def content_response(content: bytes, media_type: str, headers: Headers) -> Response:
    """Makes the response with some content, compressed if the caller accepts that; browsers revalidate it."""
    tag = hashlib.sha256(content).hexdigest()[:16]
    encoding = "gzip" if accepts(headers, "gzip") else ""
    body = page.compressed(content) if encoding else content
    return _response(functools.partial(Response, body, media_type=media_type), headers, tag, encoding, REVALIDATED)


def accepts(headers: Headers, encoding: str) -> bool:
    """Returns whether a request accepts an encoding of the response."""
    for part in ",".join(headers.getlist("Accept-Encoding")).split(","):
        name, _, parameters = part.partition(";")
        if name.strip().lower() == encoding:
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _response(make: Callable[[], Response], headers: Headers, tag: str, encoding: str, cache_control: str) -> Response:
    """Makes a response with its headers, or 304 if the caller has the same content."""
    etag = f'"{tag}-{encoding}"' if encoding else f'"{tag}"'
    tags = [each.strip().removeprefix("W/") for each in headers.get("If-None-Match", "").split(",")]
    response = Response(status_code=304) if etag in tags else make()
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = cache_control
    response.headers["Vary"] = "Accept-Encoding"
    if encoding and response.status_code != 304:
        response.headers["Content-Encoding"] = encoding
    return response


@functools.lru_cache(maxsize=64)
def _gzipped(path: Path, mtime_ns: int) -> bytes:
    """Returns a file compressed with gzip; kept until the file changes."""
    return page.compressed(path.read_bytes())
