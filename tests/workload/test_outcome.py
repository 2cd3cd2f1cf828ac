"""A run of the workload has a result only if every copy has a sound one."""

import pytest

from mlpf_jax.report import hepscore, quality
from mlpf_jax.workload import outcome, together
from tests.report import documents, test_summing

SPANS = {name: together.Span(10**9, 2 * 10**9) for name in ("training", "inference")}


def copies(tmp_path, *changes):
    folders = []
    for number, change in enumerate(changes, start=1):
        folder = tmp_path / f"proc_{number}"
        document = test_summing.document()
        document["report"]["wl-stats"] |= change
        documents.dump(folder / hepscore.FILE_NAME, document)
        outcome.put_aside(folder)
        folders.append(folder)
    return folders


def combine(folders):
    late = {name: together.Span(one.start_ns + 10**8, one.end_ns) for name, one in SPANS.items()}
    return outcome.combine(folders, [SPANS, late][: len(folders)])


def test_the_result_has_the_sum_and_says_what_each_copy_did(tmp_path):
    document = combine(copies(tmp_path, {}, {}))

    hepscore.validate(document)
    told = "\n".join(outcome.lines(document))
    assert "training: 20 events/s" in told
    assert "by copy: 10, 10" in told
    assert "not checked: no window is known" in told
    assert "last start after the first: training 100.0 ms, inference 100.0 ms" in told
    assert "warning" not in told
    second = document["report"]["wl-stats"]["copies"][1]["phases"]["training"]
    assert second["measured_s"] == pytest.approx(0.9)


def test_too_few_samples_claim_no_interval(tmp_path):
    document = combine(copies(tmp_path, {}, {}))
    (line,) = (one for one in outcome.lines(document) if one.startswith("training"))
    assert "events/s, 95 % interval " in line

    document["report"]["wl-stats"]["training"]["count"] = 5

    (line,) = (one for one in outcome.lines(document) if one.startswith("training"))
    assert "events/s, no 95 % interval; by copy" in line


def test_a_report_of_a_copy_is_not_taken_for_the_summary(tmp_path):
    copies(tmp_path, {}, {})

    assert not list(tmp_path.rglob("*_summary.json"))


def test_a_copy_without_a_report_is_a_failure(tmp_path):
    folders = copies(tmp_path, {}, {})
    (folders[1] / hepscore.COPY_FILE_NAME).unlink()

    with pytest.raises(FileNotFoundError, match="proc_2"):
        combine(folders)


def test_a_copy_that_learnt_too_little_is_a_failure(tmp_path, monkeypatch):
    failed = {"pass": False, "val_accuracy": 0.5, "lower": 0.9, "upper": 0.95}
    passed = failed | {"pass": True}
    monkeypatch.setattr(
        quality,
        "check",
        lambda report: failed if report.stats["val_accuracy"][-1] < 0.9 else passed,
    )

    with pytest.raises(ValueError, match=r"proc_2: accuracy 0.5000, outside its window 0.9"):
        combine(copies(tmp_path, {}, {"val_accuracy": [0.5]}))
