"""Requests that are generated from the OpenAPI document: no answer has status 500, and all match the document."""

import pytest

from mien.service import Limits
from tests.service.conftest import client_of

schemathesis = pytest.importorskip("schemathesis", reason="generated requests need schemathesis")
hypothesis = pytest.importorskip("hypothesis")

CASES = 60
"""Requests for each operation and kind of data."""


@pytest.fixture(scope="module")
def document():
    """The OpenAPI document of a running service."""
    with client_of(model="tiny", workers=1, limits=Limits(pictures=3)) as client:
        yield schemathesis.openapi.from_url(f"{client.base_url}openapi.json")


generated = schemathesis.pytest.from_fixture("document")


@pytest.mark.slow
@generated.parametrize()
@hypothesis.settings(
    max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_generated_request_gets_a_documented_answer(case):
    answer = case.call_and_validate()
    assert answer.status_code != 500
