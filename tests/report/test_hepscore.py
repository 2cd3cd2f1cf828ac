"""The report keeps HEPscore's contract, and a report that does not is refused."""

import copy
import dataclasses
import json
import math

import pytest

from mlpf_jax.measure import environment
from mlpf_jax.report import app, checksums, fields, hepscore, reader
from tests.report import made_up_result

SHA, MD5 = "0" * 64, "0" * 32
SUMMARY = dict.fromkeys(
    ("avg", "median", "min", "max", "count", "spread", "interval_low", "interval_high"), 1.0
)
PHASE = {
    "lower_s": 1.0,
    "compile_s": 1.0,
    "first_call_s": 1.0,
    "num_unsteady_samples": 0,
    "sample_s": [1.0],
    "sample_steps": [1],
    "sample_events": [1],
    "sample_elements": [1],
    "step_s": SUMMARY,
    "elements_per_s": 1.0,
    "padding_fraction": 0.2,
    "flops_per_event": 1.0,
    "flops_per_s": 1.0,
    "share_of_peak": None,
    "memory_per_device": {"total_bytes": 1},
    "program_sha256": SHA,
}
DATASET = {
    "provenance": {"kind": "simulated", "process": "qcd"},
    "num_events": 1,
    "num_elements": 1,
    "num_cut_events": 0,
    "num_cut_elements": 0,
    "sha256": SHA,
}
DOCUMENT = {
    "run_info": {
        "copies": 1,
        "threads_per_copy": 2,
        "events_per_thread": 3,
        "extra_arguments": "",
        "num_devices": 1,
        "seed": 1,
        "precision": "float32",
        "is_emulated": False,
        "config": {"model": {}, "data": {}, "train": {}, "mode": "both", "parallel": "pmap"},
    },
    "report": {
        "wl-scores": {"training": 1.0, "inference": 2.0},
        "wl-stats": {
            "GPU": 0,
            "CPU": 1,
            "train_set_size": 1,
            "test_set_size": 1,
            "batch_size_per_device": 1,
            "batch_size_total": 1,
            "phases": {"training": PHASE},
            "data": {"train": None, "test": DATASET},
            "memory": {"peak_device_bytes": None, "peak_process_bytes": 1},
            "graph_sha256": SHA,
            "loss_sha256": SHA,
            "params_sha256": SHA,
            "started_at": "2022-09-20T00:00:00+00:00",
            "finished_at": "2022-09-20T00:00:01+00:00",
            "init_s": 1.0,
            "training": SUMMARY,
            "val_accuracy": [0.5],
        },
        "log": "ok",
    },
    "app": {
        "version": "v0.1.0",
        "workload_version": 1,
        "description": "",
        "containment": "none",
        "bmk_checksum": MD5,
        "bmkdata_checksum": MD5,
        "cvmfs_checksum": "",
        "devices": [{"device_id": "0", "name": "cpu", "platform": "cpu"}],
        "environment": {
            "versions": {"python": "3", "jax": "0", "jaxlib": "0", "flax": "0"},
            "git_commit": None,
            "runtime": {"xla_flags": "", "allocator": "", "num_cores": 1},
        },
    },
}


def changed(path, value):
    document = copy.deepcopy(DOCUMENT)
    *parents, last = path.split("/")
    place = document
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


def test_a_complete_report_is_valid():
    hepscore.validate(DOCUMENT)


PHASE_PATH = "report/wl-stats/phases/training"
# What the programs that compare, guard and show results read without asking.
READ = (
    *(f"{PHASE_PATH}/{name}" for name in sorted(PHASE)),
    f"{PHASE_PATH}/memory_per_device/total_bytes",
    *(
        f"report/wl-stats/{name}"
        for name in (
            *("started_at", "finished_at", "batch_size_per_device", "batch_size_total"),
            *("train_set_size", "phases", "graph_sha256", "loss_sha256", "params_sha256"),
            *("data/train", "data/test", "data/test/sha256", "data/test/num_events"),
            *("data/test/provenance", "memory/peak_process_bytes"),
        )
    ),
    *(f"run_info/{name}" for name in ("config", "is_emulated", "precision", "seed")),
    *(f"app/{name}" for name in ("bmk_checksum", "containment", "devices", "version")),
    *("app/workload_version", "app/environment/versions", "app/environment/git_commit"),
    "app/environment/runtime/num_cores",
)


@pytest.mark.parametrize("path", READ)
def test_fields_read_from_every_report_are_required(path):
    document = changed(path, None)

    last = path.rpartition("/")[2]
    with pytest.raises(ValueError, match=f"'{last}' is a required property"):
        hepscore.validate(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{PHASE_PATH}/memory_per_device/total_bytes", "1 GB"),
        (f"{PHASE_PATH}/memory_per_device/total_bytes", -1),
        (f"{PHASE_PATH}/num_unsteady_samples", 0.5),
        (f"{PHASE_PATH}/sample_events", [0]),
        (f"{PHASE_PATH}/share_of_peak", {}),
        ("report/wl-stats/memory/peak_process_bytes", "much"),
        ("report/wl-stats/batch_size_total", "16"),
        ("report/wl-stats/steps_by_epoch", [1.5]),
        ("report/wl-stats/started_at", 1663632000),
        ("run_info/config/model", [1]),
        ("app/environment/versions/jax", {"a": 1}),
        ("app", None),
        ("run_info", None),
        ("report/wl-scores", {}),
        ("report/wl-scores/training", {"median": 1.0}),  # hep-score ends in a traceback
        ("report/wl-scores/training", 0.0),  # hep-score would take it for a success
        ("report/wl-scores/training", "1.0"),
        ("report/wl-scores/epoch_time", 1.0),  # lower is better: no score
        ("report/wl-stats/params_sha256", "abc"),
        ("report/wl-stats/val_accuracy", 0.5),
        ("report/wl-stats/val_loss", [10**400]),
        ("report/wl-stats/val_loss", [float("inf")]),
        ("report/wl-stats/phases/training/sample_s", [0.0]),
        ("report/log", "failed"),
        ("extra", 1),
    ],
)
def test_an_invalid_report_is_refused_and_not_written(tmp_path, path, value):
    document = changed(path, value)
    with pytest.raises(ValueError, match="not a HEPscore report"):
        hepscore.write(document, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_is_none_is_never_written(tmp_path):
    document = changed("report/wl-stats/init_s", float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        hepscore.write(document, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_report_is_kept_under_another_name(tmp_path):
    """hep-score reads only one file name; readers of a folder find both runs."""
    path, none = hepscore.write(DOCUMENT, tmp_path)
    again, kept = hepscore.write(changed("report/wl-scores/training", 5.0), tmp_path)

    assert (again, none) == (path, None)
    assert json.loads(path.read_text())["report"]["wl-scores"]["training"] == 5.0
    assert json.loads(kept.read_text()) == DOCUMENT
    assert kept.name.startswith("mlpf-jax_summary_2")


def hepscore_result(document, references):
    """What hep-score computes from one run: the geometric mean of the normalised scores."""
    assert {"app", "run_info", "report"} <= document.keys()
    product = 1.0
    for key, reference in references.items():
        product *= round(float(document["report"]["wl-scores"][key]) / reference, 4)
    return round(product ** (1 / len(references)), 4)


def test_a_report_too_large_to_be_read_is_written_smaller_or_not_at_all(tmp_path, monkeypatch):
    most = len(json.dumps(DOCUMENT)) + 1
    monkeypatch.setattr(fields, "MOST_BYTES", most)
    path, _ = hepscore.write(DOCUMENT, tmp_path)

    assert path.stat().st_size == most
    assert reader.read(path).document == DOCUMENT

    monkeypatch.setattr(fields, "MOST_BYTES", most - 1)
    with pytest.raises(ValueError, match=f"larger than {most - 1} bytes"):
        hepscore.write(DOCUMENT, tmp_path / "new")
    assert not list(tmp_path.glob("new/*"))


def test_hep_score_can_read_it(tmp_path):
    path, _ = hepscore.write(DOCUMENT, tmp_path)
    document = json.loads(path.read_text())
    assert hepscore_result(document, {"training": 0.5, "inference": 4.0}) == 1.0


def test_the_environment_names_versions_and_no_host():
    described = environment.describe()
    assert {"python", "jax", "jaxlib", "flax", "numpy"} <= described["versions"].keys()
    assert "hostname" not in json.dumps(described)
    assert len(checksums.code_md5()) == 32


def test_a_run_whose_losses_are_not_finite_has_a_report_without_nan_and_without_a_score(tmp_path):
    training = made_up_result.samples()
    found = made_up_result.run(
        training, no_score="the loss of step 2 is not finite", not_finite_steps=(2, 3)
    )
    lost = dataclasses.replace(found.epochs[0].train, losses={"total": math.nan})
    found = dataclasses.replace(
        found, epochs=(dataclasses.replace(found.epochs[0], train=lost, validation=lost),)
    )

    path, _ = hepscore.write(hepscore.report(found, ""), tmp_path)

    assert path.name == hepscore.UNSCORED_FILE_NAME
    report = json.loads(path.read_text(), parse_constant=pytest.fail)["report"]
    assert "wl-scores" not in report
    assert report["wl-stats"]["train_loss"] == report["wl-stats"]["val_loss"] == [None]
    assert report["wl-stats"]["not_finite_steps"] == [2, 3]


@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        (".dockerenv", "docker"),
        ("run/.containerenv", "docker"),
        (".singularity.d", "singularity"),
        ("etc", "none"),
    ],
)
def test_a_container_is_known_by_the_mark_of_its_engine(tmp_path, mark, kind):
    (tmp_path / mark).mkdir(parents=True)

    assert app.containment_of(tmp_path) == kind
