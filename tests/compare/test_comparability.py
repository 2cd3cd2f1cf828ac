"""Each difference refuses or marks a ratio, according to the documented rules."""

import pathlib

import pytest

from mlpf_jax.compare import comparability
from mlpf_jax.report import fields, hepscore, model
from tests.report import documents

STATS = "report/wl-stats"
MODEL, DATA, TRAIN = (f"run_info/config/{part}" for part in ("model", "data", "train"))
OTHER_SHA = "1" * 64
NEW_JAX = {"app/environment/versions/jax": "9", f"{STATS}/graph_sha256": OTHER_SHA}


def verdicts(changes, **parts):
    """The scopes that are refused, and those that are marked."""
    found = comparability.between(
        documents.report(), documents.report("b.json", changes=changes, **parts)
    )
    return tuple(
        {scope for f in found if f.severity == severity for scope in f.scopes}
        for severity in ("refused", "marked")
    )


ALL, PHASES, EPOCHS = {"training", "inference", "epochs"}, {"training", "inference"}, {"epochs"}
CASES = {
    "nothing": ({}, set(), set()),
    "hardware": ({"app/devices": documents.GPU}, set(), set()),
    "compiler": ({"app/environment/versions/jaxlib": "9"}, set(), set()),
    "code": ({"app/bmk_checksum": "1" * 32}, set(), set()),
    "way to run": ({"run_info/config/parallel": "shard_map"}, set(), set()),
    "way to pass messages": ({f"{MODEL}/pair_kernel": "triton"}, set(), set()),
    "workload version": ({"app/workload_version": 2}, ALL, set()),
    "network": ({f"{MODEL}/hidden_dim": 64}, ALL, set()),
    "padded length": ({f"{DATA}/num_elements": 1280}, ALL, set()),
    "precision": ({"run_info/precision": "tf32"}, PHASES, EPOCHS),
    "padding": ({f"{DATA}/padding": "tight"}, ALL, set()),
    "padding as told": ({"run_info/padding": "tight"}, ALL, set()),
    "emulated": ({"run_info/is_emulated": True}, ALL, set()),
    "batch per device": ({f"{STATS}/batch_size_per_device": 4}, set(), PHASES),
    "batch in total": ({f"{STATS}/batch_size_total": 4}, set(), EPOCHS),
    "steps": ({f"{STATS}/steps_by_epoch": [69]}, set(), EPOCHS),
    "learning rate": ({f"{TRAIN}/learning_rate": 0.5}, set(), EPOCHS),
    "seed": ({"run_info/config/seed": 5}, set(), EPOCHS),
    "train events": (
        {f"{STATS}/data/train/sha256": OTHER_SHA},
        {"training", "epochs"},
        set(),
    ),
    "test events": ({f"{STATS}/data/test/sha256": OTHER_SHA}, {"inference", "epochs"}, set()),
    "more of the same events": (
        {f"{STATS}/data/test/sha256": OTHER_SHA, f"{STATS}/data/test/num_events": 100},
        set(),
        {"inference", "epochs"},
    ),
    "more of other events": (
        {
            f"{STATS}/data/test/sha256": OTHER_SHA,
            f"{STATS}/data/test/num_events": 100,
            f"{STATS}/data/test/provenance/process": "ttbar",
        },
        {"inference", "epochs"},
        set(),
    ),
    "fingerprint by a new JAX": (NEW_JAX, set(), ALL),
    "fingerprint by new code": (
        {f"{STATS}/graph_sha256": OTHER_SHA, "app/bmk_checksum": "1" * 32},
        set(),
        ALL,
    ),
    "fingerprint for no reason": ({f"{STATS}/graph_sha256": OTHER_SHA}, ALL, set()),
}


@pytest.mark.parametrize(("changes", "refused", "marked"), CASES.values(), ids=CASES)
def test_a_difference_is_refused_or_marked_as_the_rules_say(changes, refused, marked):
    assert verdicts(changes) == (refused, marked)


@pytest.mark.parametrize(("changes", "refused", "marked"), CASES.values(), ids=CASES)
def test_the_rules_do_not_ask_which_run_comes_first(changes, refused, marked):
    one, other = documents.report(), documents.report("b.json", changes=changes)

    forth, back = comparability.between(one, other), comparability.between(other, one)

    assert [(f.severity, f.scopes) for f in forth] == [(f.severity, f.scopes) for f in back]


def test_a_phase_of_one_side_only_is_refused_and_the_other_phase_is_not():
    assert verdicts({}, training=None) == ({"training"}, set())


def test_runs_without_a_common_phase_are_refused():
    found = comparability.between(
        documents.report(inference=None), documents.report("b.json", training=None)
    )

    assert "no phase in common" in [finding.text for finding in found]


def test_refused_ratios_are_not_marked_too():
    changes = {f"{MODEL}/hidden_dim": 64, f"{STATS}/batch_size_per_device": 4}

    assert verdicts(changes) == (ALL, set())


def test_a_setting_that_only_the_newer_run_knows_is_no_difference():
    assert verdicts({f"{MODEL}/new_knob": 3}) == (set(), set())


def texts(**parts):
    return [finding.text for finding in comparability.within(documents.report(**parts))]


def test_a_reliable_run_has_no_findings():
    assert texts() == []


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"changes": {"run_info/is_emulated": True}}, "emulated"),
        ({"changes": {f"{STATS}/inference_weights": "initial"}}, "initial weights"),
        ({"training": (1.0, 2.0)}, "only 2 samples of training"),
        ({"changes": {"report/wl-scores/training": 99.0}}, "not the median of its samples"),
        ({"changes": {f"{STATS}/doubts": ["training: a drift of +9 %"]}}, "a drift of +9 %"),
    ],
)
def test_caveats_of_a_single_run_are_reported(parts, words):
    (text,) = texts(**parts)

    assert words in text


def test_distrust_of_one_phase_does_not_affect_the_other():
    doubts = {f"{STATS}/doubts": ["training: a drift of +9 %", "300 pages swapped"]}

    found = comparability.within(documents.report(changes=doubts))

    assert [f.scopes for f in found] == [("training",), fields.ALL]


VARIABLES = "app/environment/runtime/variables"
SURROUNDINGS = "app/environment/surroundings"


@pytest.mark.parametrize(
    ("place", "before", "after", "text"),
    [
        (VARIABLES, {}, {"NPROC": "1"}, "environment variables none -> NPROC=1"),
        (
            SURROUNDINGS,
            {"process": {"malloc": "libc"}},
            {"process": {"malloc": "libjemalloc.so.2"}},
            "malloc libc -> libjemalloc.so.2",
        ),
    ],
)
def test_other_surroundings_mark_a_ratio_if_both_are_known(place, before, after, text):
    a, b = (documents.report(changes={place: value}) for value in (before, after))

    (finding,) = comparability.between(a, b)

    assert (finding.severity, finding.scopes) == ("marked", fields.PHASES)
    assert text in finding.text
    assert comparability.between(documents.report(), b) == ()


def test_the_documents_that_the_rules_are_tried_on_are_whole():
    hepscore.validate(documents.document())


def test_the_page_names_every_rule():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "comparing.md").read_text()

    assert [e.reason for e in model.Report.effects() if e.reason not in page] == []
