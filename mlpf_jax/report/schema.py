"""The JSON schema of a report, generated from its declaration.

python -m mlpf_jax.report.schema > schema.json
"""

import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlpf_jax.report import fields, model

_MOST_ERRORS = 1000  # among which the best is looked for
_PLAIN = {int, float, type(None)}


@functools.cache
def schema() -> dict[str, Any]:
    """Returns the schema (draft 2020-12)."""
    found = fields.schema_of(model.Report) | {"additionalProperties": False}
    found["properties"]["report"]["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mlpf-jax_summary.json",
        "description": "HEPscore workload report of mlpf_jax. "
        "Scores are bare numbers in events/s, higher is better.",
        **found,
    }


def load(path: Path, most_bytes: int) -> Any:
    """Returns the document in a file of JSON.

    Raises:
        ValueError: if it is none, is larger, or has NaN or Infinity: a limit does not stop NaN.
        RecursionError: if it is too deep.
        OSError: if it cannot be read.
    """
    if path.exists() and not path.is_file():  # a pipe would keep its reader waiting
        raise ValueError("not a file.")
    if path.stat().st_size > most_bytes:
        raise ValueError(f"larger than {most_bytes} bytes.")
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number.")


def check(document: Any, wanted: Mapping[str, Any], problem: str, whole: str) -> None:
    """Validates a document against a schema.

    Raises:
        ValueError: if it is invalid; the message is one line: the `problem` and the place in the
            `whole`.
    """
    import jsonschema  # imported here, because only validation needs it

    errors = _validator()(wanted).iter_errors(document)
    error = jsonschema.exceptions.best_match(itertools.islice(errors, _MOST_ERRORS))
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or whole
        raise ValueError(f"{problem}: {place}: {error.message[:200]}")


@functools.cache
def _validator() -> Any:
    """Returns the class of validators for which 1.0 is no integer: it cannot count or index."""
    import jsonschema

    draft = jsonschema.Draft202012Validator
    types = draft.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return jsonschema.validators.extend(draft, {"items": _item_errors}, type_checker=types)


def _item_errors(validator: Any, wanted: Any, items: Any, _: Any) -> Iterator[Any]:
    """Yields the errors in an array.

    Of numbers it looks at the extremes of each type only, because our schemas have just limits
    for them: jsonschema takes 12 us for each, and a report can have a hundred million.
    """
    if not isinstance(items, list):
        return
    kinds = set(map(type, items))
    for place, item in enumerate(items) if kinds - _PLAIN else _extremes(items, kinds):
        yield from validator.descend(item, wanted, path=place)


def _extremes(items: list[Any], kinds: set[type]) -> Iterator[tuple[int, Any]]:
    for kind in kinds:
        of_kind = [item for item in items if type(item) is kind]
        ends = of_kind[:1] if kind is type(None) else [min(of_kind), max(of_kind)]
        yield from ((items.index(end), end) for end in ends)


def validate(document: Any) -> None:
    """Validates a report against the schema.

    Raises:
        ValueError: if it is invalid; the message is one line that names the place.
    """
    check(document, schema(), "not a HEPscore report of mlpf_jax", "the report")


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
