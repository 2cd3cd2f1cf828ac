"""The processes of a run on several hosts, in its report, its summary and its doubts."""

import dataclasses
import io

import pytest

from mlpf_jax.compare import ratios, runs
from mlpf_jax.page import conditions
from mlpf_jax.report import hepscore, processes, reader, summary
from tests.report import made_up_result


@pytest.fixture(scope="module")
def run():
    """A run of two processes, of which the second is slower."""

    def of(own_s):
        samples = [dataclasses.replace(sample, own_s=own_s) for sample in made_up_result.samples()]
        return made_up_result.run(tuple(samples), batch_sha256="1" * 64)

    told = [
        processes.describe(of(own_s), process_id=i, host=f"host{i}", num_devices=1)
        for i, own_s in enumerate((0.8, 1.6))
    ]
    return dataclasses.replace(of(0.8), processes=tuple(told))


def test_the_report_has_each_process_and_is_read_again(run):
    document = hepscore.report(run, "")
    hepscore.validate(document)

    report = reader.from_document(document, "the run")
    assert [one["step_s"]["training"] for one in report.processes] == [0.08, 0.16]
    assert [one["host"] for one in report.processes] == ["host0", "host1"]


def test_a_run_of_one_process_has_none():
    document = hepscore.report(made_up_result.run(made_up_result.samples()), "")

    assert reader.from_document(document, "the run").processes is None


def test_the_slowest_process_is_named(run):
    stream = io.StringIO()
    summary.show(run, "x.json", stream)

    assert "2 on 2 hosts; slowest: process 1 on host1, 33 % over the median" in stream.getvalue()
    assert "training: process 1 on host1 took 1.33 times as long as the median" in run.doubts


def test_doubts_of_other_processes_count_but_those_of_the_common_windows_once(run):
    other = dict(run.processes[1], doubts=["3000 pages swapped", "training: only 3 samples"])

    found = processes.doubts([run.processes[0], other])

    assert "process 1 on host1: 3000 pages swapped" in found
    assert not [doubt for doubt in found if "only 3 samples" in doubt]


@pytest.mark.parametrize(("key", "word"), [("params_sha256", "weights"), ("loss_sha256", "losses")])
def test_other_weights_or_losses_are_told(run, key, word):
    other = {**run.processes[1], key: "f" * 64}

    assert processes.difference(run.processes) is None
    told = processes.difference([run.processes[0], other])
    assert told.startswith(f"the {word} of process 1 on host1 are not those of process 0")


def test_the_page_has_a_line_for_each_process(run):
    report = reader.from_document(hepscore.report(run, ""), "the run")
    rows = ratios.compare([runs.Group(name="a", reports=(report,))]).rows

    table = conditions.processes(rows)

    assert [line[:5] for line in table.rows] == [
        ("A", "0", "host0", "1", "0.08"),
        ("A", "1", "host1", "1", "0.16"),
    ]
