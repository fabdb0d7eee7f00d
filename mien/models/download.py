"""Model files: fetched once into the user's cache, never at import, and opened with ONNX Runtime."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
from platformdirs import user_cache_path

from mien.errors import WeightsError, error_text
from mien.files import replaced

TIMEOUT_S = 30.0
"""How long the connection may stay silent."""

CHUNK = 1 << 20
"""Bytes read at once."""


def fetched(url: str, sha256: str, name: str) -> Path:
    """A file from the user's cache; it is downloaded where it is not there yet.

    Args:
        url: Where it comes from.
        sha256: What its bytes must hash to, in hexadecimal. A cached file is checked again at every call.
        name: Its name in the cache.

    Raises:
        WeightsError: It cannot be downloaded or stored, or its bytes are not the expected ones; nothing is left
            behind then.
    """
    path = user_cache_path("mien") / "weights" / name
    try:
        if path.is_file() and _sha256(path) == sha256:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as part:
            with part.open("wb") as file:
                file.writelines(_chunks(url, name))
            came = _sha256(part)
            if came != sha256:
                raise WeightsError(
                    f"{name} from {url} is not the file it should be: its sha256 must be {sha256}, got {came}; try "
                    "again later, or give the path of a copy that you trust"
                )
    except OSError as error:
        raise WeightsError(f"{name} cannot be kept in {path.parent}: {error}; make that folder writable") from None
    return path


def open_session(path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Opens a model file on the processor.

    Args:
        path: An .onnx file.
        threads: Processor threads of one run; None leaves it to ONNX Runtime, which takes every core.

    Raises:
        WeightsError: The file is missing or is no ONNX model.
    """
    if not path.is_file():
        raise WeightsError(f"expected a model file, but there is none at {path}; check the path")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # errors; its warnings mean nothing to the person who looks for faces
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions have no common parent but this one
        raise WeightsError(
            f"{path} is no ONNX model that can be run, or it is damaged ({error_text(error)}); get it again"
        ) from None


def _chunks(url: str, name: str) -> Iterator[bytes]:
    """What the URL gives, piece by piece.

    Raises:
        WeightsError: The server does not answer, refuses, or stops before the end.
    """
    advice = "connect to the internet and try again, or give the path of a copy"
    came = 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "mien"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            while chunk := response.read(CHUNK):
                came += len(chunk)
                yield chunk
            promised = int(response.headers.get("Content-Length") or came)
    except urllib.error.HTTPError as error:
        raise WeightsError(
            f"{name} cannot be downloaded: {url} answers {error.code} {error.reason}; {advice}"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WeightsError(
            f"{name} cannot be downloaded from {url}: {getattr(error, 'reason', error)}; {advice}"
        ) from None
    if came != promised:
        raise WeightsError(f"{name} was cut off on its way from {url}: {came} of {promised} bytes came; {advice}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
