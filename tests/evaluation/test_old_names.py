"""Documented names of earlier versions still work, with a DeprecationWarning."""

import importlib

import numpy as np
import pytest

from mien.evaluation.metrics import METRICS, evaluate
from mien.types import Predictions


@pytest.mark.parametrize(
    ("old", "new_module", "new"),
    [
        ("HEADLINES", "metrics", "METRICS"),
        ("accuracy_interval", "bootstrap", "accuracy_interval"),
        ("LEVEL", "bootstrap", "LEVEL"),
        ("reliability", "reliability", "reliability"),
        ("Reliability", "reliability", "Reliability"),
        ("BINS", "reliability", "BINS"),
        ("roc_curves", "roc", "roc_curves"),
        ("RocCurves", "roc", "RocCurves"),
        ("Curve", "roc", "Curve"),
    ],
)
def test_old_name_of_metrics_warns_and_gives_the_new_object(old, new_module, new):
    with pytest.warns(DeprecationWarning, match=rf"use mien\.evaluation\.{new_module}\.{new}"):
        value = getattr(importlib.import_module("mien.evaluation.metrics"), old)
    assert value is getattr(importlib.import_module(f"mien.evaluation.{new_module}"), new)


def test_old_attributes_warn_and_give_the_values():
    predictions = Predictions(np.arange(3), np.eye(2, dtype=np.float32)[[0, 1, 1]], np.array([0, 1, 0]), ("a", "b"))
    with pytest.warns(DeprecationWarning, match=r"use Predictions\.correct"):
        assert predictions.right.tolist() == [True, True, False]
    metrics = evaluate(predictions, resamples=0)
    for name in METRICS:
        with pytest.warns(DeprecationWarning, match=rf'use Metrics\["{name}"\]'):
            assert getattr(metrics, name) == metrics[name]
    assert not hasattr(metrics, "acuracy")
