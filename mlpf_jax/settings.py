"""Fields of frozen configs that are also flags; a flag is declared at its field."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """The declaration of a field that is set by a flag."""

    text: str
    flag: str | None  # name of the flag, if it differs from the field's
    on_accelerator: Any  # the default of the flag, which may differ from the field's
    on_cpu: Any
    at_least: int | None
    at_most: int  # for integers
    choices: tuple[str, ...]  # choices of the flag; empty: those of the field's type
    word: str | None  # that the flag takes instead of a number


_SAME: Any = object()


def setting(
    default: Any,
    text: str,
    *,
    flag: str | None = None,
    on_accelerator: Any = _SAME,
    on_cpu: Any = _SAME,
    at_least: int | None = None,
    at_most: int = 2**31 - 1,
    choices: tuple[str, ...] = (),
    word: str | None = None,
) -> Any:
    """Returns a field that is set by a flag; `text` is its help. `check` enforces the bounds."""
    said = Setting(
        text=text,
        flag=flag,
        on_accelerator=default if on_accelerator is _SAME else on_accelerator,
        on_cpu=default if on_cpu is _SAME else on_cpu,
        at_least=at_least,
        at_most=at_most,
        choices=choices,
        word=word,
    )
    return dataclasses.field(default=default, metadata={"setting": said})


def settings_of(config: Any) -> dict[str, Setting]:
    """Returns the settings of a config or its class, by name of the field."""
    return {
        field.name: field.metadata["setting"]
        for field in dataclasses.fields(config)
        if "setting" in field.metadata
    }


def check(config: Any) -> None:
    """Compares every number with its bounds.

    Raises:
        ValueError: if one is outside.
    """
    for name, said in settings_of(config).items():
        value = getattr(config, name)
        rule = None
        if said.at_least is not None and value is not None and value < said.at_least:
            rule = f"be at least {said.at_least}" if said.at_least else "not be negative"
        elif isinstance(value, int) and value > said.at_most:
            rule = f"be at most {said.at_most}"
        if rule is not None:
            raise ValueError(f"--{said.flag or name}={value}: must {rule}.")
