"""Building blocks of `report.model`: fields of a JSON document, each declared once.

A `Field` declares the place of a value, the allowed values, how to get it from a run's result, its
value in older files that lack it, and the meaning of a difference between two runs. A class of
fields, a `Record`, gives the JSON (`written`), its schema (`schema_of`), typed access
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
Scope = Literal["training", "inference", "epochs"]  # epochs: epoch time and accuracy
PHASES: tuple[Scope, ...] = ("training", "inference")
ALL: tuple[Scope, ...] = (*PHASES, "epochs")
# Limit for a result file, written and read: two days of samples of 0.2 s.
MOST_BYTES = 256 * 2**20
LEFT_OUT: Any = object()  # returned for a field that a run does not have
_REQUIRED: Any = object()


@dataclasses.dataclass(frozen=True)
class Effect:
    """The effect of a difference on a ratio: refuses it, or marks it with a footnote."""

    severity: Literal["refused", "marked"]
    scopes: tuple[Scope, ...]
    reason: str


def refuses(scopes: tuple[Scope, ...], reason: str) -> Effect:
    """Returns the effect that ratios of these scopes are refused."""
    return Effect("refused", scopes, reason)


def marks(scopes: tuple[Scope, ...], reason: str) -> Effect:
    """Returns the effect that ratios of these scopes get a footnote."""
    return Effect("marked", scopes, reason)


@dataclasses.dataclass(frozen=True)
class Fact:
    """One known fact about a run; unknown facts are absent."""

    category: Category
    name: str
    value: str
    effects: tuple[Effect, ...] = dataclasses.field(default=(), compare=False, repr=False)


Told = tuple[Category, str, Any, tuple[Effect, ...]]  # a fact before its value is formatted


@dataclasses.dataclass(frozen=True)
class Compared:
    """Declares that a value, or every part of it, is a fact. `effects` are all possible effects."""

    tell: Callable[[Any], Iterable[Told]]
    effects: tuple[Effect, ...] = ()


def fact(
    category: Category,
    name: str,
    *effects: Effect,
    show: Callable[[Any], Any] = lambda value: value,
) -> Compared:
    """Declares that the field is one fact; `show` converts the value for comparison and display."""
    return Compared(lambda value: [(category, name, show(value), effects)], effects)


def facts_of(tell: Callable[[Any], Iterable[Told]], *effects: Effect) -> Compared:
    """Declares that the field is several facts, which `tell` lists."""
    return Compared(tell, effects)


@dataclasses.dataclass(frozen=True)
class Kind(Generic[T]):
    """The allowed values of a field, as a fragment of JSON schema. They are read as type `T`."""

    schema: Mapping[str, Any]


# JSON allows numbers like 1e999. Numbers within these limits are safe for all computations.
_MOST = 1e30
_MOST_SIZE = 1e18
_MOST_COUNTED = 1e15
_MOST_SIGNED = 1e40  # losses may be as large as float32 allows
SHORTEST_S = 1e-12  # of what is a divisor
ANY = Kind[Any]({})
TEXT = Kind[str]({"type": "string"})
BOOLEAN = Kind[bool]({"type": "boolean"})
NUMBER = Kind[float]({"type": "number", "minimum": -_MOST_SIGNED, "maximum": _MOST_SIGNED})
NONNEGATIVE = Kind[float]({"type": "number", "minimum": 0, "maximum": _MOST})
POSITIVE = Kind[float]({"type": "number", "exclusiveMinimum": 0, "maximum": _MOST})
SECONDS = Kind[float]({"type": "number", "minimum": SHORTEST_S, "maximum": _MOST})
FRACTION = Kind[float]({"type": "number", "minimum": 0, "maximum": 1})
COUNT = Kind[int]({"type": "integer", "minimum": 1, "maximum": _MOST_COUNTED})
SIZE = Kind[int]({"type": "integer", "minimum": 0, "maximum": _MOST_SIZE})
SHA256 = Kind[str]({"type": "string", "pattern": "^[0-9a-f]{64}$"})
MD5 = Kind[str]({"type": "string", "pattern": "^[0-9a-f]{32}$"})


def maybe(kind: Kind[T]) -> Kind[T | None]:
    """Returns the kind of values that may be null (unknown)."""
    return Kind({"anyOf": [{"type": "null"}, kind.schema]})


def one_of(*values: T) -> Kind[T]:
    """Returns the kind of exactly these values."""
    return Kind({"enum": list(values)})


def listed(kind: Kind[T], at_least: int = 0) -> Kind[list[T]]:
    """Returns the kind of lists of values."""
    return Kind({"type": "array", "minItems": at_least, "items": kind.schema})


def keyed(kind: Kind[T], *required: str) -> Kind[Mapping[str, T]]:
    """Returns the kind of objects with values of one kind and some required keys."""
    return Kind({"type": "object", "required": list(required), "additionalProperties": kind.schema})


def shaped(**kinds: Kind[Any]) -> Kind[Mapping[str, Any]]:
    """Returns the kind of objects that have at least these keys."""
    properties = {name: kind.schema for name, kind in kinds.items()}
    return Kind({"type": "object", "required": list(kinds), "properties": properties})


class Field(Generic[T]):
    """One value of a document. Declared in a `Record`, it is an attribute of the record."""

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
    """Declares a field that is None in documents without it."""
    return Field(place, Kind[T | None](kind.schema), of, absent=None, compared=compared)


class Family(Field[Mapping[str, Any]]):
    """Values of one kind, of all keys in the object at `place` that match a regular expression.

    Reading returns the whole object.
    """

    def __init__(self, place: str, pattern: str, kind: Kind[Any], of: Callable[..., Any]):
        super().__init__(place.rstrip("/"), kind, of, absent=lambda _: {})
        self.pattern = pattern


class Derived(Generic[T]):
    """A value derived from other fields, which is a fact in comparisons."""

    def __init__(self, of: Callable[[Any], T], compared: Compared):
        self.of, self.compared = of, compared

    def __get__(self, record: "Record", owner: type) -> T:
        return self.of(record)


class Record:
    """A part of a document with access through its fields; `document` is the part itself."""

    def __init__(self, document: Mapping[str, Any]):
        self.document = document

    @classmethod
    def declared(cls) -> dict[str, "Field[Any] | Derived[Any]"]:
        """Returns the declarations by name, in order of declaration, with base classes first."""
        attributes = [item for base in cls.__mro__ for item in vars(base).items()]
        return {name: value for name, value in attributes if isinstance(value, Field | Derived)}

    @classmethod
    def fields(cls) -> list[Field[Any]]:
        """Returns the fields in the order of the JSON."""
        return [value for value in cls.declared().values() if isinstance(value, Field)]

    @classmethod
    def effects(cls) -> tuple[Effect, ...]:
        """Returns all possible effects of differences of two records, in order of the fields."""
        compared = [part.compared for part in cls.declared().values() if part.compared]
        return tuple(dict.fromkeys(effect for one in compared for effect in one.effects))

    def facts(self) -> Iterator[Fact]:
        """Yields the known facts of this record for comparisons."""
        for name, declared in self.declared().items():
            value = getattr(self, name)
            if declared.compared is None or value is None:
                continue
            for category, label, part, effects in declared.compared.tell(value):
                if part is not None:
                    text = part if isinstance(part, str) else json.dumps(part)
                    yield Fact(category, label, text, effects)


def written(record: type[Record], *subject: Any) -> dict[str, Any]:
    """Returns the record as JSON, from the object that its fields are taken from."""
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
        place.update(plain(value if isinstance(field, Family) else {last: value}))
    return document


def plain(value: Any) -> Any:
    """Converts to JSON types: dataclasses to objects, tuples to lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


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
