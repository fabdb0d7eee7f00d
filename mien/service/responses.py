"""Responses that routes share: errors as JSON, and files that browsers revalidate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike

from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope


def error_response(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Makes the response `{"error": sentence}`."""
    return JSONResponse({"error": sentence}, status, headers)


class RevalidatedFiles(StaticFiles):
    """Static files that a browser stores but revalidates on every use.

    Without this, a browser could combine old and new files of the page after an upgrade.
    """

    def file_response(
        self, full_path: PathLike[str] | str, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """See `StaticFiles`; adds the header `Cache-Control: no-cache`."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response
