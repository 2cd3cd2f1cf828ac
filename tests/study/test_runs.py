"""What a study reads from the report of a run."""

from mlpf_jax.report import reader, summing
from mlpf_jax.study import engine, runs
from tests.report import documents

SPANS = {"training": (10.0, 20.0), "inference": (21.0, 22.0)}


def run_of(document, out):
    report = reader.from_document(document, str(out / "report.json"))
    point = engine.Point(())
    made = {point: engine.Measured(reports={0: report})}
    return runs.results(made, out)[point].runs[0]


def test_copies_side_by_side_pass_no_more_events_and_take_no_more_memory_per_event(tmp_path):
    slot = {"allowed_cores": [0], "cpu_quota": None, "memory_bytes": None}
    changes = {"app/devices": documents.GPU, "app/environment/surroundings/slot": slot}
    alone = documents.document(changes=changes)
    two = summing.add([summing.Part(alone, SPANS)] * 2)
    one = run_of(alone, tmp_path)

    both = run_of(two, tmp_path)

    assert len(two["app"]["devices"]) == 2 * len(documents.GPU)
    assert both.rates["training"] == 2 * one.rates["training"]
    assert both.passes == one.passes > 0
    assert both.event_bytes == one.event_bytes
