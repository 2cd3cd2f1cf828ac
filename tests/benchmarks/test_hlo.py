"""Launches and memory traffic are counted from the text of a compiled program."""

import pytest

from benchmarks.aot import hlo

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


SLICES = """\
%fused (p: f32[8,4], q: f32[8]) -> f32[8] {
  %q = f32[8]{0} parameter(1)
  %p = f32[8,4]{1,0} parameter(0)
  %flat = f32[32]{0} bitcast(%p)
  %s = f32[8]{0} slice(%flat), slice={[8:16]}
  ROOT %sum = f32[8]{0} add(%s, %q)
}

ENTRY %main (a: f32[8,4], b: f32[8], i: s32[2]) -> f32[2,4] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = f32[8]{0} parameter(1)
  %i = s32[2]{0} parameter(2)
  %f = f32[8]{0} fusion(%a, %b), kind=kLoop, calls=%fused
  %g = f32[2,4]{1,0} gather(%a, %i), slice_sizes={1,4}
  ROOT %h = f32[8,4]{1,0} fusion(%a, %a), kind=kLoop, calls=%other
}

%other (p: f32[8,4], q: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0} parameter(0)
  %q = f32[8,4]{1,0} parameter(1)
  %s = f32[1,4]{1,0} slice(%p), slice={[0:1], [0:4]}
  %r = f32[8,4]{1,0} broadcast(%s), dimensions={0,1}
  ROOT %t = f32[8,4]{1,0} add(%r, %q)
}
"""


def test_of_what_is_sliced_or_gathered_from_the_taken_part_is_read():
    sliced, gathered, whole = (32 + 32) + 32, (32 + 8) + 32, 128 + 128

    assert hlo.traffic(SLICES).num_bytes == sliced + gathered + whole


@pytest.mark.parametrize(
    ("text", "message"),
    [("HloModule empty", "no ENTRY"), (PROGRAM.replace("known_trip", "some_"), "number of trips")],
)
def test_a_program_that_cannot_be_counted_is_an_error(text, message):
    with pytest.raises(ValueError, match=message):
        hlo.traffic(text)
