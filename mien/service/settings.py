"""Settings of the service, limits on what callers may send, and their checks."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

from mien.cores import usable_cores
from mien.detection import DEFAULT_DETECTOR
from mien.errors import ConfigError, error_text, shortened, shortened_path
from mien.models.zoo import DEFAULT_MODEL
from mien.service.access import is_loopback

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s*]+")
MIN_WORKER_BYTES = 2**28
"""Least memory limit of a worker process; half of it is taken before the first picture."""


@dataclass(frozen=True)
class Limits:
    """Limits on what callers may send. A request over a limit is answered with an error.

    Attributes:
        request_bytes: Maximum size of a request's body, bytes.
        pixels: Maximum width times height of a picture. A worker holds as many decoded pictures as its batch has, with
            three bytes per pixel.
        pictures: Maximum number of pictures in one request.
        queue: Maximum number of pictures that wait for a worker; at least `pictures`.
        seconds: Maximum duration of a request, from its first byte to its answer, and for which a caller may leave an
            answer unread.
        frame_bytes: Maximum size of one WebSocket frame, bytes; `request_bytes` if that is less. Each open WebSocket
            may hold one in memory.
        held_bytes: Maximum size of the bodies and frames of all requests that are not answered yet, bytes; at least
            `request_bytes`.
        connections: Maximum number of open connections; fewer where the process may open fewer files.
        caller_connections: Maximum number of open connections from one address.
        header_seconds: Maximum time from the opening of a connection, or the end of a response, to the end of the
            headers of the next request.
        idle_seconds: Maximum time for which a WebSocket may send no frame.

    Raises:
        ConfigError: A limit is not above 0 and finite, or the queue is shorter than one request.
    """

    request_bytes: int = 32 * 2**20
    pixels: int = 25_000_000
    pictures: int = 16
    queue: int = 64
    seconds: float = 30.0
    frame_bytes: int = 8 * 2**20
    held_bytes: int = 256 * 2**20
    connections: int = 512
    caller_connections: int = 128
    header_seconds: float = 10.0
    idle_seconds: float = 60.0

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not 0 < value < math.inf:
                raise ConfigError(f"the limit {limit.name} must be above 0 and finite, got {value}")
        if self.queue < self.pictures:
            raise ConfigError(
                f"the queue must hold all pictures of one request: it holds {self.queue} and a request may have "
                f"{self.pictures}; raise the queue or allow fewer pictures"
            )


@dataclass(frozen=True)
class Settings:
    """Settings of a service.

    Attributes:
        model: The name of a shipped model, or the path of an .onnx file that `mien export` wrote.
        detector: The name of a detector or the path of a YuNet file; see `mien.detection.registry.create_detector`.
        min_score: Lowest score of a face, in [0, 1]; None is the detector's own.
        device: What runs the networks, in each worker: a name in `mien.models.devices.DEVICES`, such as cuda; `auto`
            for the best one that works; None for the CPU.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        token: The token that calls to /v1 must carry, one or more visible ASCII characters; None needs no token.
        more_tokens: Further tokens, each as good as the first, so that each caller can have its own.
        allowed_origins: Origins of other sites whose pages may call the service, such as https://app.example.
        open_to_all: Allows an address that other machines reach without a token.
        workers: Number of processes that recognise pictures.
        worker_pictures: Number of pictures after which a worker process is replaced, which frees what it has leaked.
        worker_bytes: Maximum memory of a worker process, bytes; a picture that needs more fails. Linux only.
        batch: Maximum number of pictures that a worker recognises at once.
        wait_ms: Maximum time that a worker waits for more pictures, milliseconds.
        limits: Limits on what callers may send.

    Raises:
        ConfigError: A value is out of range, or other machines would reach a service without a token.
    """

    model: str | Path = DEFAULT_MODEL
    detector: str = DEFAULT_DETECTOR
    min_score: float | None = None
    device: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    more_tokens: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    open_to_all: bool = False
    workers: int = field(default_factory=usable_cores)
    worker_pictures: int = 10_000
    worker_bytes: int = 2**30
    batch: int = 4
    wait_ms: float = 2.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise ConfigError(f"min_score must be between 0 and 1, got {self.min_score:g}")
        if self.workers < 1:
            raise ConfigError(f"workers must be 1 or more, got {self.workers}")
        if self.worker_pictures < 1:
            raise ConfigError(f"worker_pictures must be 1 picture or more, got {self.worker_pictures}")
        if self.worker_bytes < MIN_WORKER_BYTES:
            raise ConfigError(
                f"worker_bytes must be {MIN_WORKER_BYTES:,} or more, which the networks need, got {self.worker_bytes:,}"
            )
        if self.batch < 1:
            raise ConfigError(f"batch must be 1 picture or more, got {self.batch}")
        if not self.wait_ms >= 0:
            raise ConfigError(f"wait_ms must be 0 or more, got {self.wait_ms:g}")
        given = self.more_tokens if self.token is None else (self.token, *self.more_tokens)
        if not all(token and all("!" <= letter <= "~" for letter in token) for token in given):
            raise ConfigError("a token must be one or more visible ASCII characters without spaces")
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    "an allowed origin must be a scheme and a host, such as https://app.example, got "
                    f"{shortened(origin)}"
                )
        if not (self.tokens or self.open_to_all or is_loopback(self.host)):
            raise ConfigError(
                f"other machines can reach a service at {shortened(self.host)}: set a token in MIEN_TOKEN or with "
                "--token-file, or allow calls without one with --no-token"
            )

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens, one of which calls to /v1 must carry; empty if no token is needed."""
        return tuple(token for token in (self.token, *self.more_tokens) if token)


def read_tokens(path: Path) -> tuple[str, ...]:
    """Reads a file with one token per line; empty lines and lines that begin with # are left out.

    Raises:
        ConfigError: The file cannot be read, or has no token.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"the token file {shortened_path(path)} cannot be read: {error_text(error)}") from None
    tokens = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not tokens:
        raise ConfigError(f"the token file {shortened_path(path)} has no token; write one on a line of its own")
    return tokens
