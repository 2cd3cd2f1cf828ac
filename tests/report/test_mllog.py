"""The log of MLPerf is one that MLPerf's own checker accepts, with the measured durations."""

import copy
import datetime
import importlib.util
import json
from pathlib import Path

import pytest

from mlpf_jax.report import mllog, reader
from tests import recorded
from tests.report import documents

REPORT = reader.read(recorded.REPORTS / "7ca3f33.json")


def events(report=REPORT):
    marks, parsed = set(), []
    for line in mllog.lines(report):
        mark, event = line.split(" ", 1)
        marks.add(mark)
        parsed.append(json.loads(event))
    assert marks == {":::MLLOG"}
    return parsed


def test_the_log_has_the_measured_durations_in_order_of_time():
    found = events()

    times = {event["key"]: event["time_ms"] for event in found}
    assert [event["time_ms"] for event in found] == sorted(event["time_ms"] for event in found)
    assert times["run_stop"] - times["run_start"] == pytest.approx(1e3 * REPORT.train_time, abs=1)
    ended = datetime.datetime.fromisoformat(REPORT.finished_at).timestamp()
    inferring_s = sum(sample.seconds for sample in REPORT.phases["inference"].samples)
    assert times["run_stop"] == pytest.approx(1e3 * (ended - inferring_s), abs=1)
    (tracked,) = [event["value"] for event in found if event["key"] == "tracked_stats"]
    assert tracked == {"throughput": REPORT.phases["training"].score.median}
    first = [event for event in found if event["metadata"].get("epoch_num") == 1]
    assert [event["key"] for event in first] == [
        *("epoch_start", "epoch_stop", "eval_start", "eval_accuracy", "eval_stop")
    ]
    assert first[-1]["time_ms"] - first[0]["time_ms"] == pytest.approx(
        1e3 * REPORT.epoch_times[0], abs=1
    )


def test_samples_for_the_energy_alone_come_after_training():
    extra = [{"seconds": seconds, "num_events": 1, "energy": None} for seconds in (2.5, 4.0)]
    document = copy.deepcopy(REPORT.document)
    for phase, sample in zip(("training", "inference"), extra, strict=True):
        document["report"]["wl-stats"]["phases"][phase]["extra_samples"] = [sample]

    before, after = (
        next(event["time_ms"] for event in events(report) if event["key"] == "run_start")
        for report in (REPORT, reader.from_document(document, "x"))
    )

    assert before - after == pytest.approx(6500, abs=1)


def test_the_training_of_a_resumed_run_ends_when_it_ended():
    """The last process is shorter than the training, most of which others have done."""
    document = copy.deepcopy(REPORT.document)
    stats = document["report"]["wl-stats"]
    stats["started_at"] = stats["finished_at"]
    first = "2020-01-01T00:00:00+00:00"
    stats["segments"] = [
        {"first_step": 0, "num_steps": 9, "started_at": first},
        {"first_step": 9, "num_steps": 1, "started_at": stats["started_at"]},
    ]

    found = {event["key"]: event["time_ms"] for event in events(reader.from_document(document, ""))}

    before = {event["key"]: event["time_ms"] for event in events()}
    assert found["init_start"] == 1577836800000
    assert found["run_start"] == before["run_start"]
    assert found["run_stop"] == before["run_stop"]


def test_a_run_without_training_has_no_log(tmp_path):
    with pytest.raises(ValueError, match="needs training"):
        mllog.write(tmp_path / "log", documents.report(training=None))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("mlperf_logging") is None, reason="mlperf-logging is not installed"
)
def test_mlperfs_own_checker_accepts_the_log_but_for_the_name_of_the_benchmark(tmp_path):
    import mlperf_logging.compliance_checker as package
    from mlperf_logging.compliance_checker import mlp_compliance

    # The rules of the open division, with our name in the list of benchmarks.
    folder = Path(package.__file__).parent / "hpc_3.0.0"
    names = "['deepcam', 'cosmoflow', 'oc20', 'openfold']"
    for name in ("common", "open_common"):
        rules = (folder / f"{name}.yaml").read_text()
        ours = rules.replace(names, f"['{mllog.BENCHMARK}']")
        ours = ours.replace("hpc_3.0.0/{}_common", f"{tmp_path}/{{}}_common")
        ours = ours.replace("enqueue_config('hpc_3.0.0/open_{}.yaml'.format(v['value']))", "None")
        (tmp_path / f"{name}.yaml").write_text(ours)
    mllog.write(tmp_path / "log", REPORT)

    def check():
        checker = mlp_compliance.make_checker("hpc", "3.0.0", quiet=False, werror=True)
        return mlp_compliance.main(str(tmp_path / "log"), str(tmp_path / "common.yaml"), checker)

    assert check()[0]
    lines = (tmp_path / "log").read_text().splitlines()
    (tmp_path / "log").write_text("\n".join(line for line in lines if "run_stop" not in line))
    assert not check()[0]
