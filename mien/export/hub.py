"""Uploads an exported network with its card to the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

import mien
from mien.errors import ConfigError, WeightsError, error_text, require, shortened
from mien.models.hub import EXTRA, PREFIX
from mien.models.onnx_model import OnnxModel

CARD = "README.md"
"""The file of a repository that the hub shows as its card."""
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


def push(model: OnnxModel, repo: str, card: str = "", private: bool = False) -> str:
    """Uploads a network in one commit; the repository is created if there is none.

    Args:
        model: The network; its file keeps its name.
        repo: Owner and name of the repository, such as owner/expressions.
        card: The text of its card; empty writes `write_card` if the repository has none yet, and otherwise leaves it.
        private: Whether a repository that is created is private.

    Returns:
        The address of the file at the new commit, which `mien recognize --model` takes.

    Raises:
        ConfigError: The name of the repository is wrong.
        WeightsError: The upload failed; the repository is as it was.
        MissingExtraError: The hub's client is not installed.
    """
    if not _REPO.fullmatch(repo):
        raise ConfigError(f"a repository must be named OWNER/NAME, got {shortened(repo)}")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # mien reports nothing to anyone
    client = require("huggingface_hub", EXTRA)
    require("huggingface_hub.utils.logging", EXTRA).set_verbosity_error()
    api = client.HfApi(library_name="mien", library_version=mien.__version__)
    file = model.path.name
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        if not card and not api.file_exists(repo, CARD):
            card = write_card(model, repo)
        contents: dict[str, str | bytes] = {file: str(model.path)} | ({CARD: card.encode()} if card else {})
        operations = [client.CommitOperationAdd(name, content) for name, content in contents.items()]
        commit = api.create_commit(repo, operations, commit_message=f"Upload {file} with mien {mien.__version__}")
    except Exception as error:  # the errors of the client, of its HTTP library and of the disk have no common base
        raise WeightsError(
            f"{file} cannot be uploaded to {shortened(repo)}: {shortened(error_text(error))}; check HF_TOKEN and the "
            "name of the repository"
        ) from None
    return f"{PREFIX}{repo}@{commit.oid}/{file}"


def write_card(model: OnnxModel, repo: str) -> str:
    """Returns the text of a card: what the network is, how to use it, its metrics, and its licence."""
    metrics = [
        f"| {name} | {values['accuracy']:.4f} | {values['macro_f1']:.4f} |"
        for name, values in model.metadata.get("metrics", {}).items()
        if {"accuracy", "macro_f1"} <= values.keys()
    ]
    table = ["", "| split and view | accuracy | macro F1 |", "| --- | ---: | ---: |", *metrics] if metrics else []
    size, file = model.preprocessing.size, Path(model.path).name
    lines = [
        "---",
        "library_name: mien",
        "pipeline_tag: image-classification",
        "tags: [facial-expression-recognition, onnx, mien]",
        "---",
        f"# {model.title}",
        "",
        f"Classifies the expression of a cropped, gray face of {size} x {size} pixels as {', '.join(model.classes)}. A "
        "face shows an expression; it does not reveal what a person feels.",
        "",
        "```sh",
        "pip install 'mien[hub]'",
        f"mien recognize photo.jpg --model {PREFIX}{repo}/{file}",
        "```",
        "",
        "The file holds its labels, preprocessing and calibration in its metadata.",
        *table,
        "",
        "## Licence",
        "",
        str(model.metadata.get("licence", "")),
        "",
    ]
    return "\n".join(lines)
