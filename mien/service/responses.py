"""Responses that routes share: errors as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse


def error_response(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Makes the response `{"error": sentence}`."""
    return JSONResponse({"error": sentence}, status, headers)
