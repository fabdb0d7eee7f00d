"""Cores: limited by the process's binding and by a container's CPU limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien import cores


@pytest.fixture(autouse=True)
def quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of the file with the container's limit, which does not exist yet."""
    monkeypatch.setattr(cores, "QUOTA", tmp_path / "cpu.max")
    return cores.QUOTA


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not bind processes to cores")
def test_usable_cores_are_those_that_the_process_is_bound_to() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores.usable_cores() == len(allowed)


def test_usable_cores_without_affinity_are_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores.usable_cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1


@pytest.mark.parametrize(
    ("content", "usable"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("9900000 100000", 8),
        ("", 8),
    ],
)
def test_container_limit_is_rounded_up(content: str, usable: int, quota: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    quota.write_text(content)
    assert cores.usable_cores() == usable
