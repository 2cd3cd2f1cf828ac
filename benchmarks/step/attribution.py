"""Which part of the network every operation of a compiled program belongs to.

XLA keeps with an operation the path of Flax modules that it came from and the Python functions
that were on the stack. Both are asked, so the network needs no marks. An operation that the
compiler made out of several counts as what its result is; one that says nothing about itself
counts as what made its operands.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

Direction = Literal["forward", "backward", "update"]

# The first that is found in "path|functions, innermost first" names the part.
_RULES: tuple[tuple[str, str], ...] = (
    ("binning", r"\b(hash_elements|sort_by_hash)\b"),
    ("gather and scatter", r"\b(permute|_permute_forward|_permute_backward|_gather|to_bins)\b"),
    ("adjacency", r"\b\w*(adjacency|pair)\w*"),
    ("message passing", r"\b(\w*messages?|_forward|_backward|_row_sum)\b"),
    ("graph layer, rest", r"/encoder\b|\bgraph_layer\b"),
    ("heads", r"/decoder\b"),
    ("loss and counts", r"\b(event_losses|huber|total|count_classes|split_targets)\b"),
    ("input encoding", r"\b(encode|real_elements)\b|PFNet"),
    ("loss and counts", r"\bbatch_sums\b"),
    ("optimiser", r"\btrain_step\b"),
)
OTHER = "other"
PARTS = (*dict.fromkeys(name for name, _ in _RULES), OTHER)
# They hold other operations, which stand in a trace for themselves.
_CONTAINERS = frozenset({"while", "call", "conditional"})
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"[\]})] ([a-z][\w\-]*)\(([^)]*)")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_CALLED = re.compile(r"\b(?:calls|to_apply)=%?([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an operation belongs."""

    part: str
    direction: Direction


@dataclasses.dataclass(frozen=True)
class _Instruction:
    opcode: str
    operands: tuple[str, ...]
    called: str | None
    origin: str  # "path|functions"; empty if the compiler does not say


def places(hlo_text: str) -> dict[str, Place]:
    """Returns the place of every operation of a compiled program by its name, but containers'."""
    stacks = _stacks(hlo_text)
    computations: dict[str, list[str]] = {}
    instructions: dict[str, _Instruction] = {}
    inside: list[str] = []
    for line in hlo_text.splitlines():
        if header := _COMPUTATION.match(line):
            inside = computations.setdefault(header[1], [])
        elif found := _INSTRUCTION.match(line):
            inside.append(found[1])
            instructions[found[1]] = _instruction(found[2], stacks)
    origins: dict[str, str] = {}
    for name, one in instructions.items():  # operands come before their users
        origins[name] = one.origin or _origin_of(one, computations, instructions, origins)
    return {
        name: _place(origins[name])
        for name, one in instructions.items()
        if one.opcode not in _CONTAINERS
    }


def _instruction(text: str, stacks: Mapping[str, str]) -> _Instruction:
    opcode = _OPCODE.search(text)
    path = re.search(r'op_name="([^"]*)"', text)
    frame = re.search(r"stack_frame_id=(\d+)", text)
    called = _CALLED.search(text)
    origin = f"{path[1] if path else ''}|{stacks.get(frame[1], '') if frame else ''}"
    return _Instruction(
        opcode=opcode[1] if opcode else "",
        operands=tuple(re.findall(r"%([\w.\-]+)", opcode[2])) if opcode else (),
        called=called[1] if called else None,
        origin="" if origin == "|" or (opcode and opcode[1] == "parameter") else origin,
    )


def _origin_of(
    one: _Instruction,
    computations: Mapping[str, Sequence[str]],
    instructions: Mapping[str, _Instruction],
    origins: Mapping[str, str],
) -> str:
    """Returns the origin of most of what a fusion holds, else that of an operand."""
    held = computations.get(one.called or "", ())
    inner = Counter(o for name in held if (o := instructions[name].origin))
    if inner:
        return inner.most_common(1)[0][0]
    return next((o for name in one.operands if (o := origins.get(name, ""))), "")


def _place(origin: str) -> Place:
    part = next((name for name, rule in _RULES if re.search(rule, origin)), OTHER)
    if part == "optimiser":
        return Place(part, "update")
    return Place(part, "backward" if "transpose(" in origin else "forward")


def _stacks(hlo_text: str) -> dict[str, str]:
    """Returns, by the number of a frame, the functions on the stack, innermost first."""
    functions = dict(re.findall(r'^(\d+) "([^"]*)"$', _block(hlo_text, "FunctionNames"), re.M))
    located = re.findall(
        r"^(\d+) \{.*?function_name_id=(\d+)", _block(hlo_text, "FileLocations"), re.M
    )
    names = {place: functions.get(function, "") for place, function in located}
    frames = {
        number: (location, int(parent) - 1)  # 1 means that there is none
        for number, location, parent in re.findall(
            r"^(\d+) \{file_location_id=(\d+) parent_frame_id=(\d+)\}",
            _block(hlo_text, "StackFrames"),
            re.M,
        )
    }
    return {number: " ".join(_walk(number, frames, names)) for number in frames}


def _walk(
    number: str, frames: Mapping[str, tuple[str, int]], names: Mapping[str, str]
) -> list[str]:
    functions, seen = [], set()
    while number in frames and number not in seen:
        seen.add(number)
        location, parent = frames[number]
        functions.append(names.get(location, ""))
        number = str(parent)
    return functions


def _block(hlo_text: str, title: str) -> str:
    """Returns the lines from a title to the next empty line."""
    _, _, rest = hlo_text.partition(f"\n{title}\n")
    return rest.partition("\n\n")[0]
