"""Downloads model files into the user's cache, verified by SHA-256."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_path

from mien.errors import WeightsError
from mien.files import replaced

TIMEOUT_S = 30.0
"""Longest silence of the server before the download fails, seconds."""

CHUNK_BYTES = 1 << 20


def download(url: str, sha256: str, name: str) -> Path:
    """Downloads a file into the user's cache unless it is already there.

    Args:
        url: The file's address.
        sha256: The expected SHA-256 of the file, hexadecimal. A cached file is verified at every call and downloaded
            again if it differs.
        name: The file's name in the cache.

    Returns:
        The path of the cached file.

    Raises:
        WeightsError: The file cannot be downloaded or stored, or its SHA-256 differs; no partial file is left.
    """
    path = user_cache_path("mien") / "weights" / name
    try:
        if path.is_file() and _sha256(path) == sha256:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as part:
            with part.open("wb") as file:
                file.writelines(_read_chunks(url, name))
            actual = _sha256(part)
            if actual != sha256:
                raise WeightsError(
                    f"{name} from {url} must have the sha256 {sha256}, got {actual}: try again later, or give the "
                    "path of a copy that you trust"
                )
    except OSError as error:
        raise WeightsError(f"{name} cannot be stored in {path.parent} ({error}): make that folder writable") from None
    return path


def _read_chunks(url: str, name: str) -> Iterator[bytes]:
    """Yields the content of a URL in chunks.

    Raises:
        WeightsError: The server does not answer, answers with an error, or stops before the end.
    """
    advice = "connect to the internet and try again, or give the path of a copy"
    received = 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "mien"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            while chunk := response.read(CHUNK_BYTES):
                received += len(chunk)
                yield chunk
            expected = int(response.headers.get("Content-Length") or received)
    except urllib.error.HTTPError as error:
        raise WeightsError(
            f"{name} cannot be downloaded: {url} answers {error.code} {error.reason}; {advice}"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WeightsError(
            f"{name} cannot be downloaded from {url} ({getattr(error, 'reason', error)}): {advice}"
        ) from None
    if received != expected:
        raise WeightsError(f"the download of {name} from {url} stopped after {received} of {expected} bytes: {advice}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
