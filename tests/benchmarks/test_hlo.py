"""What a compiled program launches and moves is read from its text."""

import pytest

from benchmarks.compiling import hlo

PROGRAM = """\
HloModule jit_step, is_scheduled=true

%fused (p: f32[4,2]) -> f32[4,2] {
  %p = f32[4,2]{1,0} parameter(0)
  ROOT %sum = f32[4,2]{1,0} add(%p, %p)
}

%body (state: (s32[], f32[8])) -> (s32[], f32[8]) {
  %state = (s32[], f32[8]{0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[8]{0} get-tuple-element(%state), index=1
  %y = f32[8]{0} copy(%x)
  ROOT %next = (s32[], f32[8]{0}) tuple(%i, %y)
}

%commands (q: f32[4,2]) -> f32[4,2] {
  %q = f32[4,2]{1,0} parameter(0)
  ROOT %pairs = f32[4,2]{1,0} custom-call(%q, %q), custom_call_target="__gpu$xla.gpu.triton"
}

ENTRY %main (a: f32[4,2], b: f32[8]) -> (f32[4,2], bf16[3]) {
  %a = f32[4,2]{1,0} parameter(0)
  %b = f32[8]{0} parameter(1)
  %zero = s32[] constant(0)
  %start = (s32[], f32[8]{0}) tuple(%zero, %b)
  %loop = (s32[], f32[8]{0}) while(%start), body=%body, known_trip_count":{"n":"3"}
  %f = f32[4,2]{1,0} fusion(%a), kind=kLoop, calls=%fused, backend_config={"kind":"__triton"}
  %c = f32[4,2]{1,0} call(%f), to_apply=%commands
  %h = (bf16[3]{0}, u8[16]{0}) custom-call(%c), custom_call_target="__cublas$gemm"
  %g = bf16[3]{0} get-tuple-element(%h), index=0
  ROOT %out = (f32[4,2]{1,0}, bf16[3]{0}) tuple(%c, %g)
}
"""


def test_launches_are_counted_through_calls_and_loops():
    assert hlo.traffic(PROGRAM).launches == {
        "copy": 3,
        "fusion __triton": 1,
        "__gpu$xla.gpu.triton": 1,
        "__cublas$gemm": 1,
    }


def test_bytes_are_those_of_operands_and_results_each_once():
    copies, fusion, pairs, product = 3 * 64, 64, 64, 32 + 6 + 16

    assert hlo.traffic(PROGRAM).num_bytes == copies + fusion + pairs + product


@pytest.mark.parametrize(
    ("text", "message"),
    [("HloModule empty", "no ENTRY"), (PROGRAM.replace("known_trip", "some_"), "number of trips")],
)
def test_what_cannot_be_counted_is_an_error(text, message):
    with pytest.raises(ValueError, match=message):
        hlo.traffic(text)
