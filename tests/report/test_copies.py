"""The same run in several files is recognised by what it measured."""

from mlpf_jax.report import copies
from tests.report import documents


def test_a_run_is_the_same_whatever_its_file_and_what_was_added_to_it():
    seen = copies.Seen()
    first = documents.report("a.json")
    more = documents.report("b.json", changes={"app/description": "annotated"})
    other = documents.report("c.json", training=tuple(rate * 1.001 for rate in documents.RATES))
    later = documents.report(
        "d.json", changes={"report/wl-stats/started_at": "2030-01-01T00:00:00+00:00"}
    )

    assert seen.new([first, other]) == [first, other]
    assert seen.note is None
    assert seen.new([more, later, first]) == [later]
    assert seen.note == ("b.json is the same run as a.json, and counts once; copies skipped: 2.")
