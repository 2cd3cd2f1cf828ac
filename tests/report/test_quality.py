"""The accuracy of a known training must lie in its window, and only of that."""

import dataclasses

import numpy as np
import pytest

from mlpf_jax.report import quality
from tests.report import documents

SITE = quality.KNOWN[0]
KNOWN = quality.Training(
    num_updates=80,
    batch=16,
    learning_rate=1e-4,
    train_sha256="0" * 64,
    test_sha256="0" * 64,
    accuracies=(0.91, 0.92, 0.93),
    halfway=(0.81, 0.82, 0.83),
)


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setattr(quality, "KNOWN", (KNOWN,))


def check(accuracy=0.92, **changes):
    changes |= {
        "report/wl-stats/val_accuracy": [0.1, accuracy],
        "report/wl-stats/batch_size_total": 16,
    }
    return quality.check(documents.report(changes=changes))


@pytest.mark.parametrize(("accuracy", "holds"), [(0.92, True), (0.5, False), (1.0, False)])
def test_an_accuracy_outside_of_the_window_fails(monkeypatch, accuracy, holds):
    narrow = dataclasses.replace(
        KNOWN, accuracies=(0.919, 0.92, 0.921), halfway=(0.819, 0.82, 0.821)
    )
    monkeypatch.setattr(quality, "KNOWN", (narrow,))

    assert check(accuracy)["pass"] is holds


@pytest.mark.parametrize(
    "change",
    [
        {"report/wl-stats/steps_by_epoch": [81]},
        {"report/wl-stats/data/train/sha256": "1" * 64},
        {"report/wl-stats/data/test/sha256": "1" * 64},
        {"run_info/config/train/learning_rate": 1e-3},
        {"run_info/config/model/hidden_dim": 32},
        {"run_info/config/data/shuffle": True},
        {"run_info/config/data/num_elements": 12800},  # padding counts as correct
    ],
)
def test_another_training_has_no_window_and_says_so(change):
    found = check(**change)

    assert found["pass"] is None
    assert found["reason"] == "no window is known for this training"


def test_the_seed_and_the_precision_may_be_others():
    found = check(**{"run_info/config/seed": 5, "run_info/config/model/precision": "bf16"})

    assert found["pass"] is True


def test_a_run_without_training_is_not_checked():
    report = documents.report(training=None)
    del report.document["report"]["wl-stats"]["val_accuracy"]

    assert quality.check(report) == {"pass": None, "reason": "nothing was trained"}


@pytest.mark.parametrize(("halfway", "most"), [(0.01, 0.02), (0.03, 0.01)])
def test_the_window_has_at_most_the_false_alarm_rate_that_it_claims(halfway, most):
    rng, alarms = np.random.default_rng(1), 0
    for *seen, new in rng.normal(0.5, 0.01, (500, 3)):
        earlier = tuple(rng.normal(0.4, halfway, 2))
        window = dataclasses.replace(KNOWN, accuracies=tuple(seen), halfway=earlier).window
        alarms += not window[0] <= new <= window[1]

    assert alarms / 500 <= most


def test_the_window_of_the_size_for_sites_excludes_a_network_that_learnt_nothing():
    lower, upper = SITE.window

    assert lower > 0.88  # 0.40 without training, 0.865 after ten steps of eight events
    assert lower < min(SITE.accuracies) <= max(SITE.accuracies) < upper < 1.0
