"""Counts the launches and bytes moved of a compiled program, from its optimised HLO text."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
_BYTES |= {"f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
# Operations that only name existing values, or wait for earlier launches.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
_FREE |= {"partition-id", "replica-id", "opt-barrier"}
# Operations that read only as much of their first operand as they return.
_SELECTING = {"slice", "dynamic-slice", "gather"}

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    shape: str
    opcode: str
    kind: str  # the opcode; for custom calls and fusions, the callee
    operands: tuple[str, ...]
    rest: str  # the rest of the line, starting with its operands


@dataclasses.dataclass(frozen=True)
class Traffic:
    """The launches and memory traffic of a program. `num_bytes` is the sum over operations of the
    bytes of results and of the read parts of operands, with repeated operands counted once.
    """

    launches: dict[str, int]
    num_bytes: int

    @property
    def num_launches(self) -> int:
        """Total number of launches."""
        return sum(self.launches.values())


def traffic(text: str) -> Traffic:
    """Returns launches and traffic of the whole program; loops count by their trip counts.

    For operands that are only sliced or gathered from, also within a fusion, only the taken part
    counts as read.

    Raises:
        ValueError: if the text has no entry computation, or a loop of unknown length.
    """
    computations, entry = _parse(text)
    if entry is None:
        raise ValueError("not an HLO text: there is no ENTRY computation.")
    launches: Counter[str] = Counter()
    num_bytes = 0
    for times, instruction, shapes in _walk(computations, entry, 1):
        launches[instruction.kind] += times
        read = _read_bytes(instruction, shapes, computations)
        num_bytes += times * (_num_bytes(instruction.shape) + read)
    return Traffic(dict(launches.most_common()), num_bytes)


def _parse(text: str) -> tuple[dict[str, list[Instruction]], str | None]:
    computations: dict[str, list[Instruction]] = {}
    entry, current = None, None
    for line in text.splitlines():
        if begin := _COMPUTATION.match(line):
            current = begin[2]
            computations[current] = []
            entry = current if begin[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            name, shape, opcode, rest = found.groups()
            operands = tuple(re.findall(r"%([\w.\-]+)", rest.split(")")[0]))
            instruction = Instruction(name, shape, opcode, _kind(opcode, rest), operands, rest)
            computations[current].append(instruction)
    return computations, entry


def _kind(opcode: str, rest: str) -> str:
    if opcode == "custom-call" and (target := re.search(r'custom_call_target="([^"]+)"', rest)):
        return target[1]
    if opcode == "fusion" and (kind := re.search(r'"kind":"(__\w+)"', rest)):
        return f"fusion {kind[1]}"
    return opcode


def _walk(computations, name, times) -> Iterator[tuple[int, Instruction, dict[str, str]]]:
    """Yields every instruction that is launched, how often, and the shapes by name around it."""
    shapes = {i.name: i.shape for i in computations[name]}
    for instruction in computations[name]:
        if instruction.kind in _FREE or instruction.kind.endswith("-done"):
            continue
        if instruction.kind == "while":
            count = re.search(r'known_trip_count":\{"n":"(\d+)"', instruction.rest)
            body = re.search(r"body=%([\w.\-]+)", instruction.rest)
            if not count or not body:
                raise ValueError(f"the loop {instruction.name} has no known number of trips.")
            yield from _walk(computations, body[1], times * int(count[1]))
        elif instruction.kind == "call" and (
            called := re.search(r"to_apply=%([\w.\-]+)", instruction.rest)
        ):
            yield from _walk(computations, called[1], times)
        else:
            yield times, instruction, shapes


def _read_bytes(instruction, shapes, computations) -> int:
    """Returns the bytes that an operation reads of its operands."""
    body, parameters = [instruction], {name: name for name in instruction.operands}
    called = re.search(r"\bcalls=%([\w.\-]+)", instruction.rest)
    if instruction.opcode == "fusion" and called:
        body = computations[called[1]]
        numbered = {_number(i): i.name for i in body if i.opcode == "parameter"}
        parameters = {numbered[n]: name for n, name in enumerate(instruction.operands)}
    read = dict.fromkeys(instruction.operands, 0)
    for parameter, operand in parameters.items():
        if operand in shapes:
            whole = _num_bytes(shapes[operand])
            read[operand] = min(whole, read[operand] + _taken_bytes(parameter, body, whole))
    return sum(read.values())


def _number(parameter: Instruction) -> int:
    return int(parameter.rest.partition(")")[0])


def _taken_bytes(name: str, body: list[Instruction], whole: int) -> int:
    """Returns the bytes that the operations of a body read from an array of `whole` bytes."""
    taken = 0
    for user in body:
        if user.opcode in _SELECTING and user.operands[0] == name:
            taken += _num_bytes(user.shape)
        elif user.opcode == "bitcast" and name in user.operands:
            taken += _taken_bytes(user.name, body, whole)
        elif name in user.operands:
            return whole
    return taken


def _num_bytes(shape: str) -> int:
    total = 0
    for dtype, dims in _ARRAY.findall(shape):
        size = _BYTES.get(dtype, 0)
        for dim in filter(None, dims.split(",")):
            size *= int(dim)
        total += size
    return total
