"""Downloads a picture from an http or https address, within limits of size and time."""

from __future__ import annotations

import http.client
import queue
import threading
import time
import urllib.error
import urllib.request

from mien.errors import ImageError, error_text, shortened

MAX_BYTES = 64 << 20
"""The most bytes of a picture."""
SILENCE_S = 15.0
"""How long a server may send nothing."""
TIME_LIMIT_S = 60.0
"""How long a whole download may take, redirections included."""
BYTES_PER_READ = 1 << 16

_WEB_ONLY: tuple[type[urllib.request.BaseHandler], ...] = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
)
"""urllib's own list of handlers without files, data URIs and FTP, to which a redirection could lead."""


def fetch(address: str, max_bytes: int = MAX_BYTES, time_limit_s: float = TIME_LIMIT_S) -> bytes:
    """Downloads the file at an address.

    Redirections are followed, to http and https only.

    Args:
        address: It begins with http:// or https://.
        max_bytes: The most bytes of the file.
        time_limit_s: How long the download may take.

    Raises:
        ImageError: The address has no such file, its server does not answer, or a limit was reached.
    """
    result: queue.Queue[bytes | Exception] = queue.Queue()

    def download() -> None:
        try:
            result.put(_download(address, max_bytes, time.monotonic() + time_limit_s))
        except Exception as error:  # raised again by the thread that waits
            result.put(error)

    # In a thread, because a server that sends a byte from time to time never runs into a time limit of its socket.
    threading.Thread(target=download, daemon=True).start()
    try:
        content = result.get(timeout=time_limit_s)
    except queue.Empty:
        content = TimeoutError()
    if isinstance(content, bytes):
        return content
    if isinstance(content, ImageError):
        raise content
    if isinstance(content, OSError | http.client.HTTPException | ValueError):  # ValueError: an address without a host
        raise ImageError(f"{shortened(address)} cannot be downloaded: {_reason(content, time_limit_s)}")
    raise content


def _download(address: str, max_bytes: int, end_s: float) -> bytes:
    request = urllib.request.Request(address, headers={"User-Agent": "mien", "Accept": "image/*,*/*;q=0.5"})
    opener = urllib.request.OpenerDirector()
    for handler in _WEB_ONLY:
        opener.add_handler(handler())
    content = bytearray()
    with opener.open(request, timeout=SILENCE_S) as response:
        stated = int(response.headers.get("Content-Length") or 0)
        while stated <= max_bytes and time.monotonic() < end_s and (received := response.read1(BYTES_PER_READ)):
            content += received
            if len(content) > max_bytes:
                break
    if max(stated, len(content)) > max_bytes:
        raise ImageError(f"{shortened(address)} is larger than the {max_bytes:,} bytes allowed; download it yourself")
    if time.monotonic() >= end_s:
        raise TimeoutError
    if len(content) < stated:
        raise http.client.IncompleteRead(bytes(content), stated - len(content))
    return bytes(content)


def _reason(error: Exception, time_limit_s: float) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {shortened(str(error.reason).splitlines()[0])}"
    if isinstance(error, urllib.error.URLError):
        return _reason(error.reason, time_limit_s) if isinstance(error.reason, Exception) else shortened(error.reason)
    if isinstance(error, TimeoutError):
        return f"the server was silent for {SILENCE_S:g} s, or the download took more than {time_limit_s:g} s"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended before the end of the file"
    return shortened(error_text(error))
