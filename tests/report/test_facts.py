"""Changes of hardware and compiler are distinguished, and repetitions recognised."""

import pytest

from mlpf_jax.report import facts
from tests.report import documents

VERSIONS = "app/environment/versions"
NEWER = {"python": "3", "jax": "1", "jaxlib": "1", "flax": "0"}


def changed(changes):
    return facts.differences(documents.report(), documents.report("b.json", changes=changes))


@pytest.mark.parametrize(
    ("changes", "categories", "words"),
    [
        ({"app/devices": documents.GPU}, {"hardware"}, "the hardware changed, the compiler did"),
        ({"app/environment/cpu": "Xeon"}, {"hardware"}, "whether the hardware is, is not known"),
        ({"app/environment/runtime/num_cores": 64}, {"hardware"}, "the hardware changed"),
        ({VERSIONS: NEWER}, {"compiler"}, "the compiler changed, the hardware did not"),
        ({"app/environment/runtime/xla_flags": "--fast"}, {"compiler"}, "the compiler changed"),
        ({VERSIONS: NEWER, "app/devices": documents.GPU}, {"hardware", "compiler"}, "both changed"),
        ({f"{VERSIONS}/flax": "1"}, {"libraries"}, "neither hardware nor compiler changed"),
        ({"app/bmk_checksum": "1" * 32}, {"code"}, "neither"),
        ({"app/environment/runtime/allocator": "one arena"}, {"system"}, "neither"),
        ({"run_info/config/seed": 1}, {"settings"}, "neither"),
        ({"report/wl-stats/data/train/sha256": "1" * 64}, {"events"}, "neither"),
        ({"report/wl-stats/graph_sha256": "1" * 64}, {"program"}, "neither"),
        ({}, set(), "nothing that is recorded differs"),
    ],
)
def test_changes_are_reported_by_category(changes, categories, words):
    found = changed(changes)

    assert {difference.category for difference in found} == categories
    assert words in facts.explanation(found)


def test_an_explanation_names_what_changed_and_what_did_not():
    text = facts.explanation(changed({f"{VERSIONS}/jaxlib": "9.9"}))

    assert "compiler (jaxlib 0 -> 9.9)" in text
    assert text.endswith("Same: hardware, libraries, code, system, settings, events, program")


def test_a_commit_that_left_the_package_alone_makes_no_other_run():
    a = documents.report(changes={"app/environment/git_commit": "1" * 40})
    b = documents.report(changes={"app/environment/git_commit": "2" * 40})

    assert facts.differences(a, b) == ()
    assert facts.identity(a) == facts.identity(b)


def test_the_commit_is_reported_if_the_code_differs():
    found = changed({"app/bmk_checksum": "1" * 32, "app/environment/git_commit": "2" * 40})

    assert [d.name for d in found] == ["package checksum", "commit"]
    assert "commit unknown -> 222222222222" in facts.explanation(found)


def test_a_fact_known_of_one_run_only_is_unknown_of_the_other():
    (found,) = changed({"app/environment/cpu": "Xeon"})

    assert (found.before, found.after) == (None, "Xeon")


def test_a_reboot_does_not_make_other_hardware():
    sizes = (25276514304, 25276502016)
    a, b = (documents.report(changes={"app/environment/memory_bytes": n}) for n in sizes)

    assert facts.differences(a, b) == ()


def test_padding_is_full_where_nothing_is_said():
    assert documents.report().padding == "full"
    told = documents.report(changes={"run_info/config/data/padding": "tight"})
    assert told.padding == "tight"


XEON = {"app/environment/cpu": "Xeon"}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (XEON, {"app/environment/cpu": "EPYC"}, "the hardware changed, the compiler did not"),
        (XEON, {}, "Not known: hardware (CPU Xeon -> unknown). Same: compiler, libraries"),
        (XEON, {"app/bmk_checksum": "1" * 32}, "Not known: hardware (CPU Xeon -> unknown)."),
        (XEON, {VERSIONS: NEWER}, "the compiler changed; whether the hardware did is not known"),
    ],
)
def test_a_fact_known_of_one_run_only_counts_neither_as_changed_nor_as_same(before, after, words):
    a, b = documents.report(changes=before), documents.report("b.json", changes=after)

    assert words in facts.explanation(facts.differences(a, b))


def test_checksums_of_two_kinds_are_not_compared():
    measured = {"app/bmk_checksum": "1" * 32, "app/bmk_checksum_kind": "measured code"}
    commit = "app/environment/git_commit"
    old = documents.report(changes={commit: "1" * 40})
    new = documents.report("b.json", changes=measured | {commit: "2" * 40})

    text = facts.explain(old, new)

    assert "Changed: -. Not known: code (package checksum 000000000000 -> unknown;" in text
    assert "commit 111111111111 -> 222222222222" in text


IDENTITY = "app/environment/surroundings/identity"
ZEN4, ZEN5 = documents.IDENTITY["zen4"], documents.IDENTITY["zen5"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (ZEN4, ZEN5, "the hardware changed, the compiler did not"),
        (ZEN4, ZEN4, "nothing that is recorded differs"),
        (ZEN4, {}, "the compiler is the same; whether the hardware is, is not known"),
        ({}, {}, "Not known: hardware (CPU identity unknown -> unknown)."),
        (ZEN4, ZEN4 | {"caches": ["L2 1024K"]}, 'hardware (caches unknown -> ["L2 1024K"])'),
    ],
)
def test_machines_are_the_same_only_if_both_say_which_they_are(before, after, words):
    a, b = (
        documents.report(changes={IDENTITY: told, "app/environment/cpu": "AMD EPYC"})
        for told in (before, after)
    )

    assert words in facts.explain(a, b)
