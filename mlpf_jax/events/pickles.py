"""Safely reads untrusted pickles: NumPy arrays of numbers in plain containers, nothing else.

`pickle` executes instructions from the file. Even with `find_class` overridden, a file can attack
NumPy's `__setstate__` and the memo. This module therefore uses only the grammar of pickles
(`pickletools`) and interprets the few instructions that such files need. It imports nothing, calls
only the six functions below, and refuses everything else by name.

Supports protocols 2 to 5, as written by NumPy 1 and 2.
"""

import io
import math
import pickletools
import re
from collections.abc import Callable
from typing import IO, Any, cast

import numpy as np

MAX_INSTRUCTIONS = 2**25  # twice the number for a hundred events of plain lists
# A file can repeat or multiply what is longer with a few bytes, which takes long.
_MOST_AXES = 32  # of an array
_MOST_REST = 7  # of the state of a type, after version and byte order
_MOST_SHOWN = 80  # characters of a name in a message

_NUMBER = re.compile(r"[<>|=]?(f[248]|[iu][1248]|b1)")
_ADMITTED = "only NumPy arrays of numbers in plain containers are read"
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()


class RefusedError(ValueError):
    """The pickle contains an instruction or object that is not allowed. Nothing was executed."""


def load(stream: io.BufferedIOBase, *, max_bytes: int) -> Any:
    """Returns the content of a pickle: dicts, lists, tuples, strings, bytes, numbers, arrays.

    Raises:
        RefusedError: if it contains anything else, or exceeds `max_bytes`.
        ValueError: if it is not a complete pickle.
    """
    machine = _Machine(max_bytes)
    limited = _Limited(stream, max_bytes)
    try:
        for instruction, argument, _ in pickletools.genops(cast(IO[bytes], limited)):
            machine.step(instruction.name, argument)
        value = _finished(machine.stack.pop())
        if limited.read(1):  # a decompressor verifies its checksums only at the end
            raise ValueError("there are bytes after its end")  # noqa: TRY301
    except RefusedError:
        raise
    except (ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"is not a complete pickle: {reason}") from None
    return value


class _Limited:
    """Limits the number of bytes read from a file, as a protection against decompression bombs."""

    def __init__(self, stream: io.BufferedIOBase, max_bytes: int):
        self._stream = stream
        self._max_bytes = self._left = max_bytes

    def read(self, size: int) -> bytes:
        return self._counted(self._stream.read(min(size, self._left + 1)))

    def readline(self) -> bytes:
        return self._counted(self._stream.readline(self._left + 1))

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise RefusedError(f"has more than {self._max_bytes} bytes when decompressed.")
        return content


class _Machine:
    """The stack machine of pickle, without its unsafe instructions."""

    def __init__(self, max_text: int):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.count = 0
        self._max_text = self._left = max_text  # characters to encode

    def step(self, name: str, argument: Any) -> None:
        """Executes one instruction."""
        self.count += 1
        if self.count > MAX_INSTRUCTIONS:
            raise RefusedError(f"has more than {MAX_INSTRUCTIONS} instructions.")
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif handler := _HANDLERS.get(name):
            handler(self, argument)
        else:
            raise RefusedError(f"has the instruction {name}: {_ADMITTED}.")

    def pop_to_mark(self) -> list[Any]:
        """Pops everything that was pushed since the last mark."""
        start = len(self.stack) - 1
        while self.stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise ValueError("a mark is missing")
        values = [_finished(value) for value in self.stack[start + 1 :]]
        del self.stack[start:]
        return values

    def pop(self, count: int) -> list[Any]:
        """Pops `count` values."""
        if len(self.stack) < count:
            raise ValueError("the stack is empty")
        values = [_finished(value) for value in self.stack[len(self.stack) - count :]]
        del self.stack[len(self.stack) - count :]
        return values

    def extend(self, values: list[Any]) -> None:
        _of_type(self.stack[-1], list).extend(values)

    def update(self, values: list[Any]) -> None:
        keys = (_of_type(key, str) for key in values[::2])  # other keys could be crafted to collide
        _of_type(self.stack[-1], dict).update(zip(keys, values[1::2], strict=True))

    def push_tuple(self, values: list[Any]) -> None:
        self.stack.append(tuple(values))

    def push_global(self, module: str, name: str) -> None:
        """Pushes our replacement for a function or class named in NumPy's pickles."""
        known = re.sub(r"^numpy\._core\b", "numpy.core", module)
        if (known, name) not in _STAND_INS:
            raise RefusedError(f"asks for {f'{module}.{name}'[:_MOST_SHOWN]!r}: {_ADMITTED}.")
        self.stack.append(_STAND_INS[known, name])

    def reduce(self) -> None:
        """Calls one of our replacements."""
        function, arguments = self.pop(2)
        if not isinstance(function, _StandIn):
            raise RefusedError(f"calls a {type(function).__name__}: {_ADMITTED}.")
        self.stack.append(function.call(*self._counted(arguments)))

    def build(self) -> None:
        """Sets the state of one of our replacements."""
        (state,) = self.pop(1)
        target = self.stack[-1]
        if not isinstance(target, _Dtype | _Array):
            raise RefusedError(f"sets the state of a {type(target).__name__}: {_ADMITTED}.")
        target.set_state(*self._counted(state))

    def _counted(self, arguments: Any) -> tuple[Any, ...]:
        """Returns the arguments of a replacement, which may encode all text among them.

        A file can repeat a long text with a few bytes, but each encoding takes memory.
        """
        self._left -= sum(len(v) for v in _of_type(arguments, tuple) if type(v) is str)
        if self._left < 0:
            raise RefusedError(f"encodes more than {self._max_text} characters.")
        return arguments

    def memoize(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.stack.append(self.memo[index])


_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, argument: None,
    "STOP": lambda machine, argument: None,  # the last instruction
    "FRAME": lambda machine, argument: None,
    "MARK": lambda machine, argument: machine.stack.append(_MARK),
    "EMPTY_LIST": lambda machine, argument: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, argument: machine.stack.append({}),
    "EMPTY_TUPLE": lambda machine, argument: machine.stack.append(()),
    "TUPLE1": lambda machine, argument: machine.push_tuple(machine.pop(1)),
    "TUPLE2": lambda machine, argument: machine.push_tuple(machine.pop(2)),
    "TUPLE3": lambda machine, argument: machine.push_tuple(machine.pop(3)),
    "TUPLE": lambda machine, argument: machine.push_tuple(machine.pop_to_mark()),
    "APPEND": lambda machine, argument: machine.extend(machine.pop(1)),
    "APPENDS": lambda machine, argument: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, argument: machine.update(machine.pop(2)),
    "SETITEMS": lambda machine, argument: machine.update(machine.pop_to_mark()),
    "BINPUT": lambda machine, argument: machine.memoize(argument),
    "LONG_BINPUT": lambda machine, argument: machine.memoize(argument),
    "MEMOIZE": lambda machine, argument: machine.memoize(len(machine.memo)),
    "BINGET": lambda machine, argument: machine.recall(argument),
    "LONG_BINGET": lambda machine, argument: machine.recall(argument),
    "GLOBAL": lambda machine, argument: machine.push_global(*argument.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, argument: machine.push_global(
        *(_of_type(word, str) for word in machine.pop(2))
    ),
    "REDUCE": lambda machine, argument: machine.reduce(),
    "BUILD": lambda machine, argument: machine.build(),
}


class _StandIn:
    """A replacement for a function or class of NumPy."""

    def __init__(self, call: Callable[..., Any]):
        self.call = call


class _Dtype:
    """A number type under construction."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True):
        if not _NUMBER.fullmatch(_of_type(code, str)):
            what = "Python objects" if "O" in code else f"type {code[:20]!r}"
            raise RefusedError(f"contains an array of {what}: {_ADMITTED}.")
        self.dtype = np.dtype(code)

    def set_state(self, version: Any, order: Any, *rest: Any) -> None:
        if len(rest) > _MOST_REST:
            raise ValueError("the state of a type is too long")
        if order not in ("<", ">", "|") or rest[:3] != (None, None, None):
            raise RefusedError(f"contains an array of a compound type: {_ADMITTED}.")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array under construction."""

    def __init__(self):
        self.array: np.ndarray | None = None

    def set_state(self, version: Any, shape: Any, dtype: Any, fortran: Any, content: Any) -> None:
        self.array = _make_array(content, dtype, shape, "F" if fortran else "C")


def _finished(value: Any) -> Any:
    """Returns the finished value of an object under construction."""
    if isinstance(value, _Dtype):
        return value.dtype
    if isinstance(value, _Array):
        if value.array is None:
            raise ValueError("an array has no content")
        return value.array
    if value is _MARK:
        raise ValueError("a mark is in the wrong place")
    return value


def _make_array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """Returns an array with the bytes `content`, which are checked before NumPy uses them."""
    if isinstance(content, str):  # written by Python 2
        content = content.encode("latin1")
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, np.dtype):
        raise RefusedError(f"contains an array that is not numeric: {_ADMITTED}.")
    if len(_of_type(shape, tuple)) > _MOST_AXES:
        raise ValueError(f"an array has more than {_MOST_AXES} axes")
    fits = all(0 <= _of_type(length, int) < 2**63 for length in shape)
    if not fits or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"an array of shape {shape} has {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _NDARRAY:
        raise RefusedError(f"contains an array of another kind: {_ADMITTED}.")
    return _Array()


def _scalar(dtype: Any, content: Any) -> int | float:
    return _make_array(content, dtype, (), "C").item()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Replaces `_codecs.encode`, with which protocol 2 stores bytes."""
    if encoding != "latin1":
        raise RefusedError(f"encodes text: {_ADMITTED}.")
    return _of_type(text, str).encode("latin1")


def _of_type(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"expected a {kind.__name__}, not a {type(value).__name__}")
    return value


_NDARRAY = _StandIn(lambda: None)
_STAND_INS = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _StandIn(_Dtype),
    ("numpy.core.multiarray", "_reconstruct"): _StandIn(_reconstruct),
    ("numpy.core.multiarray", "scalar"): _StandIn(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _StandIn(_make_array),
    ("_codecs", "encode"): _StandIn(_encode),
    ("__builtin__", "bytes"): _StandIn(lambda: b""),  # empty bytes in protocol 2
    ("builtins", "bytes"): _StandIn(lambda: b""),
}
