"""Sets are found, paired and measured; implausible rows are counted, invalid events refused."""

import numpy as np
import pytest

from mlpf_jax.events import store, writing
from mlpf_jax.events.validation import jets, plausibility, survey


def test_a_folder_of_sets_is_opened_ttbar_first(sets):
    found = survey.find_sets(sets)
    assert [events.provenance["process"] for events in found] == ["ttbar", "qcd"]


def test_a_set_is_opened_by_itself(sets):
    assert [e.path for e in survey.find_sets(sets / "qcd")] == [sets / "qcd"]


def test_a_folder_without_sets_is_named_with_the_way_out(tmp_path):
    with pytest.raises(
        ValueError, match=r"contains none; make one with `python -m tools\.make_dataset"
    ):
        survey.find_sets(tmp_path)


def test_sets_are_paired_by_process(sets):
    both, qcd = survey.find_sets(sets), survey.find_sets(sets / "qcd")
    first, second = survey.pair(both, qcd)
    assert [e.path.name for e in first + second] == ["qcd", "qcd"]


def test_two_single_sets_are_paired_whatever_they_hold(sets):
    ttbar, qcd = (survey.find_sets(sets / name) for name in ("ttbar", "qcd"))
    assert survey.pair(ttbar, qcd) == (ttbar, qcd)


def test_sets_of_no_common_process_are_refused(sets):
    ttbar, qcd = (survey.find_sets(sets / name) for name in ("ttbar", "qcd"))
    with pytest.raises(ValueError, match="no common process: ttbar, ttbar on one side, qcd"):
        survey.pair(ttbar * 2, qcd)


def test_progress_ends_with_all_events(sets):
    calls = []
    opened = store.open_store(sets / "qcd")
    survey.measure(opened, on_progress=lambda *call: calls.append(call))
    assert calls[-1] == (opened.num_events, opened.num_events)


def test_there_is_one_number_per_event(qcd):
    assert {len(values) for values in qcd.numbers.values()} == {qcd.num_events}


def test_jets_come_with_fastjet_and_only_with_it(sets, qcd, monkeypatch):
    assert (qcd.jet_response is not None) == jets.is_available()
    monkeypatch.setattr(jets, "is_available", lambda: False)
    without = survey.measure(store.open_store(sets / "qcd"))
    assert without.jet_response is None
    assert not [name for name in without.numbers if "jet" in name]


def test_the_title_says_what_the_set_is(qcd):
    assert qcd.title == "qcd: 16 simulated events, seed 1, bank 80b2b6b5 (unknown generator)"


def test_simulated_events_are_plausible(qcd):
    assert all(not qcd.numbers[kind].any() for kind in plausibility.KINDS)


@pytest.mark.parametrize(
    ("array", "row", "column", "value", "kind"),
    [
        ("elements", 0, 2, 6.0, "elements beyond |eta| 5.5"),
        ("elements", 0, 5, 0.0, "elements without energy or pT"),
        ("elements", 0, 3, 2.0, "elements whose azimuth is off the circle"),
        ("elements", 0, 0, 1.0, "tracks behind a tower"),
        ("targets", 0, 3, -13.0, "targets beyond |eta| 12"),
        ("targets", 0, 2, 0.0, "targets without energy or pT"),
        ("targets", 0, 5, 2.0, "targets whose azimuth is off the circle"),
        ("targets", 0, 6, 0.01, "targets of less energy than momentum"),
    ],
)
def test_implausible_rows_are_counted(sets, array, row, column, value, kind):
    original = store.open_store(sets / "qcd").event(0)
    arrays = {name: getattr(original, name).copy() for name in store.NUM_FEATURES}
    arrays[array][row, column] = value
    assert plausibility.count(store.Event(**arrays))[kind] >= 1


def test_an_event_with_classes_of_its_own_is_named(tmp_path):
    rows = np.full((3, 7), 9, np.float32)
    events = [store.Event(elements=np.ones((3, 12), np.float32), targets=rows, candidates=rows)]
    origin = {"kind": "imported", "process": "qcd", "files": []}
    writing.write_store(tmp_path / "odd", events, origin)
    with pytest.raises(ValueError, match="odd: event 0 is invalid: classes are 0 to 5"):
        survey.measure(store.open_store(tmp_path / "odd"))
