"""Operations are assigned to parts of the network, and traces are summed by part."""

import dataclasses
import functools
import gzip
import json
import re
import types
import weakref
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.step import attribution, report, roofs, sampling, traces, whole
from mlpf_jax.measure import profiling
from mlpf_jax.model import parts
from mlpf_jax.training import parallel
from mlpf_jax.training import step as step_lib
from tests import tiny

HLO = """HloModule jit_step, is_scheduled=true

%inner (p.1: f32[2]) -> f32[2] {
  %p.1 = f32[2]{0} parameter(0)
  ROOT %exp.1 = f32[2]{0} exponential(%p.1), metadata={op_name="s/part:LOSS/part:MESSAGES/exp"}
}

%body (p.2: f32[2]) -> f32[2] {
  %p.2 = f32[2]{0} parameter(0)
  ROOT %dot.1 = f32[2]{0} dot(%p.2), metadata={op_name="jit(s)/transpose(jvp(part:HEADS))/ffn_id"}
}

ENTRY %main (a: f32[2]) -> (f32[2], /*index=1*/f32[2]) {
  %a = f32[2]{0} parameter(0), metadata={op_name="batch"}
  %sign.1 = f32[2]{0} sign(%a), metadata={op_name="s/part:LOSS/part:BINNING/sign;s/part:HEADS/x"}
  %sort.1 = (f32[2]{0}, s32[2]{0}) sort(%sign.1, %a)
  %fusion.1 = f32[2]{0} fusion(%sign.1), kind=kLoop, calls=%inner
  %while.1 = f32[2]{0} while(%fusion.1), body=%body
  %add.1 = f32[2]{0} add(%while.1, %a), metadata={op_name="jit(s)/part:OPTIMISER/add"}
  ROOT %tuple.1 = (f32[2]{0}, f32[2]{0}) tuple(%add.1, %fusion.1)
}
"""


def test_an_operation_belongs_to_the_innermost_part_in_its_path():
    found = attribution.places(HLO)

    assert found["sign.1"] == attribution.Place("binning", "forward")
    assert found["dot.1"] == attribution.Place("heads", "backward")
    assert found["add.1"] == attribution.Place("optimiser", "update")


def test_an_operation_without_scope_belongs_to_the_part_of_its_contents_or_operands():
    found = attribution.places(HLO)

    assert found["fusion.1"].part == "message passing"
    assert found["sort.1"].part == "binning"


def test_container_operations_do_not_count():
    assert "while.1" not in attribution.places(HLO)


@pytest.fixture(scope="module")
def training_step():
    """The text of a compiled training step of the smallest network."""
    run = tiny.run_config()
    run = dataclasses.replace(
        run, model=dataclasses.replace(run.model, num_id_layers=1, num_energy_layers=1)
    )
    spread = parallel.Devices(jax.local_devices()[:1], run.parallel)
    arguments = (
        spread.replicate(tiny.random_state(run)),
        spread.split(tiny.make_batch(1, 2)),
        spread.replicate(jax.random.key(0)),
    )
    update = spread.spread_train_step(functools.partial(step_lib.train_step, run))
    return update.lower(*arguments).compile().as_text()


def launched(text):
    """The operations of the entry computation that compute or move something."""
    entry = text[text.index("\nENTRY ") :]
    named = re.findall(r"^\s+(?:ROOT )?%?([\w.\-]+) = .*?[\]})] ([a-z][\w\-]*)\(", entry, re.M)
    free = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "call"}
    return {name for name, opcode in named if opcode not in free}


def test_every_part_is_found_in_a_training_step(training_step):
    found = attribution.places(training_step)

    both_ways = set(parts.Part) - {parts.Part.OPTIMISER, parts.Part.BINNING}
    both_ways -= {parts.Part.ADJACENCY}  # its gradient is one with message passing's
    forward = {place.part for place in found.values() if place.direction == "forward"}
    backward = {place.part for place in found.values() if place.direction == "backward"}
    assert forward == set(attribution.PARTS) - {parts.Part.OPTIMISER}
    assert backward == both_ways
    operations = launched(training_step)
    others = [name for name in operations if found[name].part == attribution.OTHER]
    assert len(operations) > 200
    assert len(others) < 0.03 * len(operations), others


def test_names_of_modules_and_functions_say_nothing(training_step):
    renamed = re.sub(r"PFNet|encoder|decoder|layer_|pass_messages|permute", "x", training_step)
    without_stacks = re.sub(r" stack_frame_id=\d+", "", renamed)

    assert renamed != training_step
    assert attribution.places(without_stacks) == attribution.places(training_step)


def test_operations_that_overlap_divide_the_time_among_them():
    spans = [(0.0, 2.0, "a"), (1.0, 3.0, "b"), (5.0, 6.0, "a"), (5.25, 5.75, "a")]

    assert traces.shared(spans) == {"a": 1.5 + 1.0, "b": 1.5}


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    x = jnp.ones((256, 256))
    compiled = jax.jit(lambda x: jnp.tanh(x @ x) @ x).lower(x).compile()
    compiled(x).block_until_ready()
    folder = tmp_path_factory.mktemp("trace")
    path = profiling.write_trace(folder, {"one": lambda: compiled(x), "two": lambda: compiled(x)})
    return compiled, path


def test_a_trace_holds_the_operations_of_a_program(traced):
    compiled, path = traced
    places = attribution.places(compiled.as_text())

    trace = traces.read(path, places)

    assert set(trace.seconds) <= set(places)
    assert any(name.startswith("dot") or "fusion" in name for name in trace.seconds)
    assert 0 < trace.covered_s <= trace.sum_s * 1.001
    assert sum(trace.by_place(places).values()) == pytest.approx(trace.covered_s)


def test_a_trace_of_another_program_is_refused(traced):
    with pytest.raises(ValueError, match=r"^this trace contains no operation"):
        traces.read(traced[1], {"nothing": attribution.Place("heads", "forward")})


def test_operations_of_devices_are_found_by_attribute_or_name_and_launches_do_not_count(tmp_path):
    place = attribution.Place("heads", "forward")
    events = [
        {"name": "process_name", "pid": 3, "args": {"name": "/device:TPU:0"}},
        {"name": "process_name", "pid": 5, "args": {"name": "/device:GPU:0"}},
        {"name": "process_name", "pid": 7, "args": {"name": "/host:CPU"}},
        {"name": "gemm_kernel", "pid": 5, "ts": 0, "dur": 2, "args": {"hlo_op": "dot.1"}},
        {"name": "cuLaunchKernel", "pid": 7, "ts": 0, "dur": 1, "args": {"hlo_op": "dot.1"}},
        {"name": "dot.1", "pid": 3, "ts": 5, "dur": 1, "args": {"long_name": "%dot.1 = ..."}},
        {"name": "dot.1", "pid": 3, "ts": 9},  # a moment
        {"name": "dot.1", "pid": 7, "ts": 9, "dur": 1},
    ]
    path = tmp_path / "x.trace.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": events}).encode()))

    assert traces.read(path, {"dot.1": place}).sum_s == pytest.approx(3e-6)


def test_calls_are_timed_sample_by_sample():
    taken = sampling.sample_calls(
        jax.jit(lambda x: x + 1), (jnp.zeros(3),), num_samples=4, shortest_sample_s=1e-4
    )

    assert len(taken.seconds) == 4
    assert taken.summary.median > 0
    assert taken.calls_per_sample >= 1


def test_a_sample_keeps_no_results_but_the_newest():
    made, most_alive = [], 0

    def call():
        nonlocal most_alive
        result = np.zeros(1)
        made.append(weakref.ref(result))
        most_alive = max(most_alive, sum(one() is not None for one in made))
        return result

    taken = sampling.sample_calls(call, (), num_samples=1, shortest_sample_s=1e-3)

    assert taken.calls_per_sample > 3
    assert most_alive == 2


def test_the_roofs_of_this_machine_are_measured():
    found = roofs.measure("float32", matrix_size=64, copied_bytes=2**16)

    assert found.flops_per_s > 0
    assert found.bytes_per_s > 0
    assert found.copied_bytes == 2**16


def test_a_roof_in_bf16_has_operands_in_bf16(monkeypatch):
    given = []

    def sample(function, arguments):
        given.append(arguments[0].dtype)
        return sampling.Samples((1.0,), 1)

    monkeypatch.setattr(sampling, "sample_calls", sample)

    for precision in ("bf16", "tf32"):
        roofs.measure(precision, matrix_size=8, copied_bytes=64)

    assert given == [jnp.bfloat16, jnp.float32, jnp.float32, jnp.float32]


def test_a_step_that_cannot_be_traced_keeps_its_time_and_says_why(monkeypatch):
    def refuse(*_):
        raise ValueError("this trace contains no operation of the program.")

    monkeypatch.setattr(whole, "_breakdown", refuse)
    step = types.SimpleNamespace(
        advance=lambda state, batch: (state, batch),
        initial=0,
        batch=0,
        compiled=types.SimpleNamespace(as_text=lambda: ""),
    )

    found = whole.measure("training", cast(Any, step), 3, traces_it=True)

    assert found.step_s > 0
    assert whole.from_document(dataclasses.asdict(found)) == found
    text = report.text(report.Report("gpu", roofs.Roofs(1.0, 1.0, 1, 1), (), (found,)))
    assert "3 samples), not traced: this trace contains no operation" in text


def test_the_table_of_a_step_says_how_much_of_it_the_operations_explain():
    samples = sampling.Samples((1.0, 1.0, 1.0), 1)
    parts = (whole.PartTime("heads", 0.3, 0.4), whole.PartTime("other", 0.2, 0.05))
    breakdown = whole.Breakdown(1.05, 1.2, 0.95, parts, ())
    one = whole.Whole("training", samples, 1.0, breakdown)
    found = report.Report("cpu", roofs.Roofs(1e11, 1e10, 8, 2**20), (), (one,))

    text = report.text(found)

    assert "1050 ms traced; its operations cover 950 ms, 90.5 % of that" in text
    assert "their own lengths sum to 1200 ms" in text
    assert "| heads | 300 | 400 | 73.7 % |" in text
    assert "| all | 500 | 450 | 100 % |" in text
