"""The parts that `report.model` is made of: fields of a JSON document, each declared once.

A `Field` says where a value stands, which values are allowed, how a run's result gives it, what it
is where an older file lacks it, and what a difference of it means when two runs are compared. A
class of fields, a `Record`, gives the JSON (`written`), its schema (`schema_of`), typed access
(`report.init_s`) and the facts for comparisons (`report.facts`).
"""

import copy
import dataclasses
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar, get_args, overload

T = TypeVar("T")
Category = Literal[
    "hardware", "compiler", "libraries", "code", "system", "settings", "events", "program"
]
CATEGORIES: tuple[Category, ...] = get_args(Category)
Scope = Literal["training", "inference", "epochs"]  # epochs: their time and the accuracy
PHASES: tuple[Scope, ...] = ("training", "inference")
ALL: tuple[Scope, ...] = (*PHASES, "epochs")
LEFT_OUT: Any = object()  # the value of a field that this run does not have
_REQUIRED: Any = object()


@dataclasses.dataclass(frozen=True)
class Effect:
    """What a difference does to a ratio: refuses it, or marks it with a footnote."""

    severity: Literal["refused", "marked"]
    scopes: tuple[Scope, ...]
    reason: str


def refuses(scopes: tuple[Scope, ...], reason: str) -> Effect:
    """Returns the effect that no ratio of these scopes is given."""
    return Effect("refused", scopes, reason)


def marks(scopes: tuple[Scope, ...], reason: str) -> Effect:
    """Returns the effect that ratios of these scopes get a footnote."""
    return Effect("marked", scopes, reason)


@dataclasses.dataclass(frozen=True)
class Fact:
    """One thing known of a run; a fact that is not known is not there."""

    category: Category
    name: str
    value: str
    effects: tuple[Effect, ...] = dataclasses.field(default=(), compare=False, repr=False)


Told = tuple[Category, str, Any, tuple[Effect, ...]]  # a fact before its value is made text


@dataclasses.dataclass(frozen=True)
class Compared:
    """That a value, or every part of it, is a fact. `effects` are all that a difference can do."""

    tell: Callable[[Any], Iterable[Told]]
    effects: tuple[Effect, ...] = ()


def fact(
    category: Category,
    name: str,
    *effects: Effect,
    show: Callable[[Any], Any] = lambda value: value,
) -> Compared:
    """Declares that the field is one fact; `show` gives what is compared and shown of the value."""
    return Compared(lambda value: [(category, name, show(value), effects)], effects)


def facts_of(tell: Callable[[Any], Iterable[Told]], *effects: Effect) -> Compared:
    """Declares that the field is several facts, which `tell` lists."""
    return Compared(tell, effects)


@dataclasses.dataclass(frozen=True)
class Kind(Generic[T]):
    """Which values a field may have, as a fragment of JSON schema; they are read as `T`."""

    schema: Mapping[str, Any]


# JSON has numbers like 1e999. Within these limits everything can be computed with.
_MOST = 1e30
_MOST_BYTES = 1e18
_MOST_COUNTED = 1e15
ANY = Kind[Any]({})
TEXT = Kind[str]({"type": "string"})
BOOLEAN = Kind[bool]({"type": "boolean"})
NUMBER = Kind[float]({"type": "number"})
NONNEGATIVE = Kind[float]({"type": "number", "minimum": 0, "maximum": _MOST})
POSITIVE = Kind[float]({"type": "number", "exclusiveMinimum": 0, "maximum": _MOST})
SECONDS = Kind[float]({"type": "number", "minimum": 1e-12, "maximum": _MOST})  # a time to divide by
FRACTION = Kind[float]({"type": "number", "minimum": 0, "maximum": 1})
COUNT = Kind[int]({"type": "integer", "minimum": 1, "maximum": _MOST_COUNTED})
SIZE = Kind[int]({"type": "integer", "minimum": 0, "maximum": _MOST_BYTES})
SHA256 = Kind[str]({"type": "string", "pattern": "^[0-9a-f]{64}$"})
MD5 = Kind[str]({"type": "string", "pattern": "^[0-9a-f]{32}$"})


def maybe(kind: Kind[T]) -> Kind[T | None]:
    """Returns the kind of values that may be null: not known."""
    return Kind({"anyOf": [{"type": "null"}, kind.schema]})


def one_of(*values: T) -> Kind[T]:
    """Returns the kind of exactly these values."""
    return Kind({"enum": list(values)})


def listed(kind: Kind[T], at_least: int = 0) -> Kind[list[T]]:
    """Returns the kind of lists of values."""
    return Kind({"type": "array", "minItems": at_least, "items": kind.schema})


def keyed(kind: Kind[T], *required: str) -> Kind[Mapping[str, T]]:
    """Returns the kind of objects whose values are all of one kind; some keys must be there."""
    return Kind({"type": "object", "required": list(required), "additionalProperties": kind.schema})


def shaped(**kinds: Kind[Any]) -> Kind[Mapping[str, Any]]:
    """Returns the kind of objects that have at least these keys."""
    properties = {name: kind.schema for name, kind in kinds.items()}
    return Kind({"type": "object", "required": list(kinds), "properties": properties})


class Field(Generic[T]):
    """One value of a document. Declared in a `Record`, it is read there as an attribute."""

    def __init__(
        self,
        place: str,
        kind: Kind[T],
        of: str | Callable[..., Any] | None = None,
        *,
        absent: T | Callable[[Any], T] = _REQUIRED,
        compared: Compared | None = None,
    ):
        """Declares a field.

        Args:
            place: The keys that lead to the value, joined by "/". Where it ends in "/" or is empty,
                the attribute's name is the last key.
            kind: Which values are allowed.
            of: The attribute, as "config.seed", of what the record is written of, or a function of
                it that may return `LEFT_OUT`. None: the value is part of one that another field
                writes, or is only read.
            absent: What is read where the document has no such key: a value, or a function of the
                record. Without it the key is required.
            compared: Which facts the value is when runs are compared.
        """
        self.place, self.kind = place, kind
        self.of = _getter(of) if isinstance(of, str) else of
        self.compared = compared
        self.is_required = absent is _REQUIRED
        self._absent = absent

    def __set_name__(self, owner: type, name: str) -> None:
        if not self.place or self.place.endswith("/"):
            self.place += name

    @overload
    def __get__(self, record: None, owner: type) -> "Field[T]": ...
    @overload
    def __get__(self, record: "Record", owner: type) -> T: ...
    def __get__(self, record, owner):
        if record is None:
            return self
        found = record.document
        for key in self.place.split("/"):
            if not isinstance(found, Mapping) or key not in found:
                if self.is_required:
                    raise KeyError(self.place)
                return self._absent(record) if callable(self._absent) else self._absent
            found = found[key]
        return found


def _getter(path: str) -> Callable[..., Any]:
    get = operator.attrgetter(path)
    return lambda subject, *_: get(subject)


def optional(
    place: str,
    kind: Kind[T],
    of: str | Callable[..., Any] | None = None,
    *,
    compared: Compared | None = None,
) -> Field[T | None]:
    """Declares a field that some documents lack: it is None there."""
    return Field(place, Kind[T | None](kind.schema), of, absent=None, compared=compared)


class Family(Field[Mapping[str, Any]]):
    """Values of one kind, of all keys in the object at `place` that match a regular expression.

    Read, it is the whole object.
    """

    def __init__(self, place: str, pattern: str, kind: Kind[Any], of: Callable[..., Any]):
        super().__init__(place.rstrip("/"), kind, of, absent=lambda _: {})
        self.pattern = pattern


class Derived(Generic[T]):
    """What follows from other fields, and is a fact when runs are compared."""

    def __init__(self, of: Callable[[Any], T], compared: Compared):
        self.of, self.compared = of, compared

    def __get__(self, record: "Record", owner: type) -> T:
        return self.of(record)


class Record:
    """A part of a document as its fields tell it; `document` is the part itself."""

    def __init__(self, document: Mapping[str, Any]):
        self.document = document

    @classmethod
    def declared(cls) -> dict[str, "Field[Any] | Derived[Any]"]:
        """Returns what is declared, by name, in the order of declaration and of the bases."""
        attributes = [item for base in cls.__mro__ for item in vars(base).items()]
        return {name: value for name, value in attributes if isinstance(value, Field | Derived)}

    @classmethod
    def fields(cls) -> list[Field[Any]]:
        """Returns the fields, in the order that the JSON has."""
        return [value for value in cls.declared().values() if isinstance(value, Field)]

    @classmethod
    def effects(cls) -> tuple[Effect, ...]:
        """Returns all that differences of two such records can do, in the order of the fields."""
        compared = [part.compared for part in cls.declared().values() if part.compared]
        return tuple(dict.fromkeys(effect for one in compared for effect in one.effects))

    def facts(self) -> Iterator[Fact]:
        """Yields what is known of this record and matters when it is compared."""
        for name, declared in self.declared().items():
            value = getattr(self, name)
            if declared.compared is None or value is None:
                continue
            for category, label, part, effects in declared.compared.tell(value):
                if part is not None:
                    text = part if isinstance(part, str) else json.dumps(part)
                    yield Fact(category, label, text, effects)


def written(record: type[Record], *subject: Any) -> dict[str, Any]:
    """Returns the record as JSON of what its fields are taken from."""
    document: dict[str, Any] = {}
    for field in record.fields():
        value = LEFT_OUT if field.of is None else field.of(*subject)
        if value is LEFT_OUT:
            continue
        *parents, last = field.place.split("/")
        if isinstance(field, Family):
            parents.append(last)
        place = document
        for key in parents:
            place = place.setdefault(key, {})
        place.update(_plain(value if isinstance(field, Family) else {last: value}))
    return document


def _plain(value: Any) -> Any:
    """As JSON has it: dataclasses are objects, tuples are lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def schema_of(record: type[Record]) -> dict[str, Any]:
    """Returns the JSON schema of the record."""
    root: dict[str, Any] = {"type": "object"}
    for field in record.fields():
        *parents, last = field.place.split("/")
        if isinstance(field, Family):
            place = _inside(root, [*parents, last], is_required=False)
            place.setdefault("patternProperties", {})[field.pattern] = field.kind.schema
            continue
        place = _inside(root, parents, field.is_required)
        place.setdefault("properties", {})[last] = copy.deepcopy(dict(field.kind.schema))
        _require(place, last, field.is_required)
    return root


def _inside(place: dict[str, Any], keys: list[str], is_required: bool) -> dict[str, Any]:
    for key in keys:
        _require(place, key, is_required)
        place = place.setdefault("properties", {}).setdefault(key, {"type": "object"})
    return place


def _require(place: dict[str, Any], key: str, is_required: bool) -> None:
    if is_required and key not in place.setdefault("required", []):
        place["required"].append(key)
