"""Dockerfile, compose.yaml and the manifest for Kubernetes name commands, paths and files that exist."""

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from mien.cli import app
from mien.service.app import create_app
from mien.service.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PORT = 8000


@pytest.fixture(scope="module")
def manifest():
    page = (ROOT / "docs" / "service.md").read_text("utf-8")
    block = re.search(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return list(yaml.safe_load_all(block[1]))


def assert_serves(words):
    """Checks that words are a command of mien that serves all addresses at PORT."""
    command = get_command(app)
    assert words[0] == "serve"
    options = command.commands["serve"].make_context("serve", list(words[1:])).params
    assert (options["host"], options["port"]) == ("0.0.0.0", PORT)


def test_dockerfile_starts_the_service_and_copies_what_the_build_needs():
    assert_serves(json.loads(re.search(r"^CMD (.+)$", DOCKERFILE, re.MULTILINE)[1]))
    assert f"127.0.0.1:{PORT}/readyz" in DOCKERFILE
    assert f"EXPOSE {PORT}" in DOCKERFILE
    assert re.search(r"^USER [1-9]", DOCKERFILE, re.MULTILINE)
    copied = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    project = (ROOT / "pyproject.toml").read_text()
    assert copied >= {"mien", "pyproject.toml", "README.md", "LICENSE", "NOTICE"}
    assert all(name in project for name in ("README.md", "LICENSE", "NOTICE"))
    assert all((ROOT / name).exists() for name in copied)


def test_compose_serves_read_only_and_is_scraped():
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text())
    service = composed["services"]["mien"]
    assert service["read_only"]
    assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    scraped = yaml.safe_load(composed["configs"]["prometheus"]["content"])
    assert scraped["scrape_configs"][0]["static_configs"] == [{"targets": [f"mien:{PORT}"]}]


def test_manifest_probes_routes_of_the_service(manifest):
    deployment, service = manifest
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert_serves(container["args"])
    paths = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"/readyz", "/healthz"} <= create_app(Settings(workers=1)).openapi()["paths"].keys()
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"] == {"app": "mien"}
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["containerPort"] == PORT
    assert container["securityContext"]["readOnlyRootFilesystem"]
