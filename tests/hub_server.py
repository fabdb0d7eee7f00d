"""A local server that speaks the API of the Hugging Face Hub, as far as small files need it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?P<rest>/.*)?")


def git_digest(content: bytes) -> str:
    """The digest that the hub gives for a file that is stored in Git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Hub:
    """A hub with some repositories.

    Attributes:
        commits: Repository -> commit -> file -> content; the last commit is that of main.
        requests: Method and path of each request.
        etag: Gives the digest of a file.
        cut: Number of bytes that are missing at the end of each download.
        token: The token that calls must carry, if any.
        url: The address of the server.
    """

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.requests: list[str] = []
        self.etag = git_digest
        self.cut, self.token = 0, ""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, b"")

            def do_GET(self) -> None:
                hub.answer(self, b"")

            def do_POST(self) -> None:
                hub.answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, *values: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()

    def add(self, repo: str, **files: bytes) -> str:
        """Adds a commit with these files, whose names have a dot for each __, and returns its name."""
        return self.commit(repo, {name.replace("__", "."): content for name, content in files.items()})

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        """Adds a commit with these files to those of the last one, and returns its name."""
        commits = self.commits.setdefault(repo, {})
        known = list(commits.values())[-1] if commits else {}
        name = hashlib.sha1(f"{repo} {len(commits)}".encode(), usedforsecurity=False).hexdigest()
        commits[name] = known | files
        return name

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answers a request."""
        path = unquote(urlsplit(request.path).path)
        self.requests.append(f"{request.command} {path}")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _send(request, 401, {"error": "Invalid username or password."}, code="")
        if match := RESOLVE.fullmatch(path):
            return self._file(request, **match.groupdict())
        if path == "/api/repos/create":
            made = json.loads(body)
            repo = f"{made['organization']}/{made['name']}" if made.get("organization") else made["name"]
            self.commits.setdefault(repo, {})
            return _send(request, 200, {"url": f"{self.url}/{repo}"})
        if path == "/api/validate-yaml":
            return _send(request, 200, {"errors": [], "warnings": []})
        match = API.fullmatch(path)
        repo, rest = (match["repo"], match["rest"] or "") if match else ("", "")
        if repo not in self.commits:
            return _send(request, 404, {"error": "Repository not found"}, code="RepoNotFound")
        if rest.startswith("/preupload/"):
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            return _send(request, 200, {"files": [{**file, "shouldIgnore": False} for file in files]})
        if rest.startswith("/commit/"):
            lines = [json.loads(line) for line in body.splitlines()]
            files = {line["value"]["path"]: line["value"]["content"] for line in lines if line["key"] == "file"}
            name = self.commit(repo, {file: base64.b64decode(content) for file, content in files.items()})
            return _send(
                request, 200, {"success": True, "commitOid": name, "commitUrl": f"{self.url}/{repo}/commit/{name}"}
            )
        name = next(reversed(self.commits[repo]), "0" * 40)
        files = self.commits[repo].get(name, {})
        return _send(request, 200, {"id": repo, "sha": name, "siblings": [{"rfilename": file} for file in files]})

    def _file(self, request: BaseHTTPRequestHandler, repo: str, revision: str, file: str) -> None:
        if repo not in self.commits:
            return _send(request, 404, {}, code="RepoNotFound")
        commits = self.commits[repo]
        name = next(reversed(commits), "") if revision == "main" else revision
        if name not in commits:
            return _send(request, 404, {}, code="RevisionNotFound")
        if file not in commits[name]:
            return _send(request, 404, {}, code="EntryNotFound", commit=name)
        content = commits[name][file]
        request.send_response(200)
        headers = {"X-Repo-Commit": name, "ETag": f'"{self.etag(content)}"', "Content-Length": str(len(content))}
        for key, value in headers.items():
            request.send_header(key, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content[: len(content) - self.cut])
            request.close_connection = bool(self.cut)
        return None


def _send(request: BaseHTTPRequestHandler, status: int, answer: object, code: str = "", commit: str = "") -> None:
    body = json.dumps(answer).encode()
    request.send_response(status)
    for key, value in {"X-Error-Code": code, "X-Repo-Commit": commit, "Content-Length": str(len(body))}.items():
        if value:
            request.send_header(key, value)
    request.send_header("Content-Type", "application/json")
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
