"""Assigns every operation of a compiled program to a part of the network.

XLA keeps the scope path of an operation, in which the network marks its parts
(`mlpf_jax.model.parts`). An operation that the compiler merged from several counts as its result;
one without a path counts as the producer of its operands.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from mlpf_jax.model import parts

Direction = Literal["forward", "backward", "update"]

OTHER = "other"
PARTS = (*map(str, parts.Part), OTHER)
# Containers of other operations, which are in a trace themselves.
_CONTAINERS = frozenset({"while", "call", "conditional"})
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"[\]})] ([a-z][\w\-]*)\(([^)]*)")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_CALLED = re.compile(r"\b(?:calls|to_apply)=%?([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Place:
    """The part and direction of an operation."""

    part: str
    direction: Direction


@dataclasses.dataclass(frozen=True)
class _Instruction:
    opcode: str
    operands: tuple[str, ...]
    called: str | None
    origin: str  # scope path; empty if the compiler does not give it


def places(hlo_text: str) -> dict[str, Place]:
    """Returns the place of every operation of a compiled program by name, without containers."""
    computations: dict[str, list[str]] = {}
    instructions: dict[str, _Instruction] = {}
    inside: list[str] = []
    for line in hlo_text.splitlines():
        if header := _COMPUTATION.match(line):
            inside = computations.setdefault(header[1], [])
        elif found := _INSTRUCTION.match(line):
            inside.append(found[1])
            instructions[found[1]] = _instruction(found[2])
    origins: dict[str, str] = {}
    for name, one in instructions.items():  # operands come before their users
        origins[name] = one.origin or _origin_of(one, computations, instructions, origins)
    return {
        name: _place(origins[name])
        for name, one in instructions.items()
        if one.opcode not in _CONTAINERS
    }


def _instruction(text: str) -> _Instruction:
    opcode = _OPCODE.search(text)
    path = re.search(r'op_name="([^"]*)"', text)
    called = _CALLED.search(text)
    is_argument = opcode is not None and opcode[1] == "parameter"
    return _Instruction(
        opcode=opcode[1] if opcode else "",
        operands=tuple(re.findall(r"%([\w.\-]+)", opcode[2])) if opcode else (),
        called=called[1] if called else None,
        origin=path[1] if path and not is_argument else "",
    )


def _origin_of(
    one: _Instruction,
    computations: Mapping[str, Sequence[str]],
    instructions: Mapping[str, _Instruction],
    origins: Mapping[str, str],
) -> str:
    """Returns the most frequent origin in a fusion, or else that of an operand."""
    held = computations.get(one.called or "", ())
    inner = Counter(o for name in held if (o := instructions[name].origin))
    if inner:
        return inner.most_common(1)[0][0]
    return next((o for name in one.operands if (o := origins.get(name, ""))), "")


def _place(origin: str) -> Place:
    part = parts.of(origin)
    if part is parts.Part.OPTIMISER:
        return Place(part, "update")
    return Place(part or OTHER, "backward" if "transpose(" in origin else "forward")
