"""Requests that are generated from the OpenAPI document: no answer has status 500, and all match the document."""

import contextlib
import itertools

import pytest

from mien.service import Limits
from tests.service.conftest import client_of

schemathesis = pytest.importorskip("schemathesis", reason="generated requests need schemathesis")
hypothesis = pytest.importorskip("hypothesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

CASES = 150
"""Requests for each operation, and for each of those that the document allows and forbids."""
LEFT_OUT = [checks.positive_data_acceptance, checks.negative_data_rejection]
"""No schema says which bytes are a picture, and the second knows no status 413 for a list that is too long."""


@pytest.mark.slow
def test_generated_requests_get_documented_answers():
    sent = 0
    with client_of(model="tiny", workers=1, limits=Limits(pictures=3)) as client:
        document = schemathesis.openapi.from_url(f"{client.base_url}openapi.json")
        for operation, mode in itertools.product(document.get_all_operations(), schemathesis.GenerationMode):
            sent += send_generated(operation.ok(), mode)
    assert sent > 300


def send_generated(operation, mode):
    """Sends requests and checks status, headers, type and schema of each answer -> how many were sent."""
    answers = []

    @hypothesis.settings(
        max_examples=CASES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        answers.append(case.call_and_validate(excluded_checks=LEFT_OUT))
        assert answers[-1].status_code != 500

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing about a call without parameters can be wrong
        send()
    return len(answers)
