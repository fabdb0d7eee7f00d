"""Models on the Hugging Face Hub, by addresses such as hf://owner/repo/file.onnx, through its own cache."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
from pathlib import Path
from typing import NamedTuple

from mien.errors import WeightsError, error_text, require, shortened

PREFIX = "hf://"
"""The beginning of an address on the hub."""
EXTRA = "hub"
"""The extra of mien that installs the hub's client."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ADDRESS = re.compile(rf"hf://(?P<repo>{_NAME}/{_NAME})(?:@(?P<revision>[^/@]+))?/(?P<file>[^@]+\.onnx)")

logger = logging.getLogger("mien")


class Address(NamedTuple):
    """A file on the hub.

    Attributes:
        repo: Owner and name of the repository.
        revision: A commit, a branch or a tag; None is the newest commit of the main branch.
        file: The path of the file in the repository; it ends in .onnx.
    """

    repo: str
    revision: str | None
    file: str


def parse(address: str) -> Address:
    """Parses an address.

    Raises:
        WeightsError: It is no address of an .onnx file.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or ".." in match["file"].split("/"):
        raise WeightsError(
            "an address on the hub must be hf://OWNER/REPO/FILE.onnx or hf://OWNER/REPO@COMMIT/FILE.onnx, got "
            f"{shortened(address)}"
        )
    return Address(match["repo"], match["revision"], match["file"])


@functools.cache
def fetch(address: str) -> Path:
    """Returns the file of an address, which is downloaded unless the hub's cache has it.

    An address with a whole commit is read from the cache without asking the hub. Only .onnx files are downloaded, and
    no code of a repository runs. The content must have the digest that the hub gave for it.

    Raises:
        WeightsError: The address is wrong, there is no such file, it cannot be downloaded, or its content has another
            digest.
        MissingExtraError: The hub's client is not installed.
    """
    repo, revision, file = parse(address)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # mien reports nothing to anyone
    client = require("huggingface_hub", EXTRA)
    require(
        "huggingface_hub.utils.logging", EXTRA
    ).set_verbosity_error()  # its retries would be printed between mien's own lines
    try:
        path = Path(client.hf_hub_download(repo, file, revision=revision, library_name="mien"))
    except Exception as error:  # the errors of the client, of its HTTP library and of the disk have no common base
        raise WeightsError(f"{shortened(address)} cannot be fetched: {_reason(error)}") from None
    _check_digest(path, address)
    commit = _commit_of(path)
    if commit and commit != revision:
        logger.info("%s is at commit %s: hf://%s@%s/%s is always this file", address, commit, repo, commit, file)
    return path


def _commit_of(path: Path) -> str:
    """Returns the commit of a file in the hub's cache: the name of the folder below snapshots."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else ""


def _check_digest(path: Path, address: str) -> None:
    """Checks a file against the digest in the name of its blob, SHA-256 for large files and Git's for others.

    Raises:
        WeightsError: The content has another digest, and the file is removed.
    """
    blob = path.resolve()
    expected = blob.name
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", expected):
        return  # systems without symbolic links have no such name
    content = blob.read_bytes()
    if len(expected) == 64:
        digest = hashlib.sha256(content)
    else:
        digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    if digest.hexdigest() != expected:
        path.unlink()
        blob.unlink(missing_ok=True)
        raise WeightsError(
            f"the content of {shortened(address)} has another digest than the hub says, and was removed: fetch it again"
        )


def _reason(error: Exception) -> str:
    """Returns why a file cannot be fetched, and what to do."""
    errors = require("huggingface_hub.errors", EXTRA)
    if isinstance(error, errors.GatedRepoError):
        return "its owner must allow you to; ask on the page of the repository, and set HF_TOKEN"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository, or it is private; check the address, or set HF_TOKEN"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision; check the part after the @"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "the hub cannot be reached, and the cache does not have it; check the network, or unset HF_HUB_OFFLINE"
    if isinstance(error, errors.EntryNotFoundError):
        return "the repository has no such file; check its name"
    return f"{shortened(error_text(error))}; try again"
