"""The OpenAPI document: its schema, its examples, and its page."""

import json
import re
from pathlib import Path

import pytest

from mien.service import schemas
from tests.service.conftest import astronaut_form

pytestmark = pytest.mark.process

SCHEMA = Path(__file__).with_name("openapi.json")
"""The schema that programs of users rely on, without its prose."""

PROSE = {"description", "summary", "title", "info", "example"}
FASTAPI_SCHEMAS = {"HTTPValidationError", "ValidationError"}


def without_prose(value):
    """Removes texts from an OpenAPI document, and what FastAPI itself adds to it."""
    if isinstance(value, dict):
        return {
            key: without_prose(item)
            for key, item in value.items()
            if key not in FASTAPI_SCHEMAS and not (key in PROSE and isinstance(item, str | dict))
        }
    return [without_prose(item) for item in value] if isinstance(value, list) else value


def test_openapi_schema_is_unchanged(client):
    assert without_prose(client.get("/openapi.json").json()) == json.loads(SCHEMA.read_text(encoding="utf-8"))


def test_answers_and_examples_match_the_schema(client):
    operation = client.get("/openapi.json").json()["paths"]["/v1/recognize"]["post"]
    assert operation["responses"]["200"]["content"]["application/json"]["example"] == schemas.EXAMPLE
    schemas.Answer.model_validate(schemas.EXAMPLE)
    answer = client.post("/v1/recognize", **astronaut_form()).json()
    schemas.Answer.model_validate(answer)
    (face,), (example,) = answer["pictures"][0]["faces"], schemas.ASTRONAUT["faces"]
    assert face["probabilities"] == pytest.approx(example["probabilities"], abs=0.01)
    assert face["box"] == pytest.approx(example["box"], abs=1)
    schemas.Models.model_validate(client.get("/v1/models").json())
    body = operation["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/v1/recognize", json=body).json()["pictures"][0]["faces"] == []


def test_docs_page_needs_no_other_host(client):
    page = client.get("/docs").text
    assert "openapi.json" in page
    paths = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert [path.rpartition(".")[2] for path in paths] == ["css", "png", "js"]
    assert all(client.get(path).status_code == 200 for path in paths)
