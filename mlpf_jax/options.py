"""The flags of a run: defined by the fields of the configs, read into them before JAX starts.

A field that `settings.setting` made is a flag of the same name. `define` makes the flags, `read`
what a user asked for, and its `run_config` the one value that the rest of the program sees, once
the platform is known. Nothing else reads the flags.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from mlpf_jax import arguments, presets, settings
from mlpf_jax import config as config_lib
from mlpf_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class AbbreviationConfig:
    """Settings that stand for others."""

    preset: str | None = setting(
        None,
        f"Settings of a preset, one of {', '.join(presets.NAMES)}, or of a flag file. Flags that "
        "are given as well win over it, wherever they stand.",
    )
    global_batch_size: int | None = setting(
        None,
        "Events per step on all devices together, instead of --batch_size.",
        on_accelerator=16,
        at_least=1,
    )

    def __post_init__(self):
        settings.check(self)


_CONFIGS = (
    AbbreviationConfig,
    config_lib.RunConfig,
    config_lib.DataConfig,
    config_lib.TrainConfig,
    config_lib.ModelConfig,
    config_lib.FilesConfig,
)
_BATCH_SIZES = {"batch_size", "global_batch_size"}


class _PathParser(flags.ArgumentParser):
    def parse(self, argument: str) -> Path:
        if not argument:
            raise ValueError("name a file or folder")
        try:
            return Path(argument).expanduser()
        except RuntimeError:
            raise ValueError("its home folder is unknown: write the whole path") from None


_PARSERS: Mapping[Any, type[flags.ArgumentParser]] = {
    int: flags.IntegerParser,
    float: flags.FloatParser,
    str: flags.ArgumentParser,
    Path: _PathParser,
}


def define() -> flags.FlagValues:
    """Returns all flags of a run, unparsed, in a group for each config."""
    values = flags.FlagValues()
    for config in _CONFIGS:
        hints = typing.get_type_hints(config)
        for name, said in settings.settings_of(config).items():
            _define(values, said.flag or name, said, hints[name], _heading(config))
    return values


def _heading(config: type) -> str:
    return (config.__doc__ or "").split(".")[0]


def _define(
    values: flags.FlagValues, name: str, said: settings.Setting, hint: Any, group: str
) -> None:
    """Defines one flag. None says that it was not given: its default is only told."""
    if isinstance(hint, types.UnionType):
        (hint,) = set(typing.get_args(hint)) - {types.NoneType}
    text = f"{said.text} {_default_text(said)}".strip()
    choices = said.choices or (typing.get_args(hint) if _is_literal(hint) else ())
    where = {"flag_values": values, "module_name": group}
    if choices:
        flags.DEFINE_enum(name, None, choices, text, **where)
    elif hint is bool:
        flags.DEFINE_boolean(name, None, text, **where)
    else:
        flags.DEFINE(_PARSERS[hint](), name, None, text, **where)


def _is_literal(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Literal


def _default_text(said: settings.Setting) -> str:
    if said.on_accelerator == said.on_cpu:
        return "" if said.on_cpu is None else f"Default: {said.on_cpu}."
    defaults = {"on accelerators": said.on_accelerator, "on a CPU": said.on_cpu}
    told = [f"{value} {where}" for where, value in defaults.items() if value is not None]
    return f"Default: {', '.join(told)}."


@dataclasses.dataclass(frozen=True)
class Request:
    """What a user asked for. What was left open depends on the platform."""

    given: Mapping[str, Any]  # by the name of the field
    files: config_lib.FilesConfig

    def check(self, platforms: Sequence[str] = ("cpu", "gpu")) -> config_lib.RunConfig:
        """Returns the config on the first of these platforms that can run it; JAX is not asked.

        Raises:
            ValueError: what the first of them refuses, if none can.
        """
        refusals = []
        for platform in platforms:
            try:
                return self.run_config(platform)
            except ValueError as error:
                refusals.append(error)
        raise refusals[0]

    def run_config(self, platform: str) -> config_lib.RunConfig:
        """Returns the config of the run on a platform, as JAX names it.

        Raises:
            ValueError: if settings contradict each other or cannot be.
        """
        chosen = {**_defaults(platform), **self.given, **self._implied()}
        if chosen["pair_kernel"] == "pallas":
            chosen["pair_kernel"] = config_lib.fused_pair_kernel(platform)
        chosen["batch_size"] = _batch_size(chosen, self.given)
        return config_lib.RunConfig(
            model=config_lib.ModelConfig(**_pick(config_lib.ModelConfig, chosen)),
            data=config_lib.DataConfig(**_pick(config_lib.DataConfig, chosen)),
            train=config_lib.TrainConfig(**_pick(config_lib.TrainConfig, chosen)),
            **_pick(config_lib.RunConfig, chosen),
        )

    def _implied(self) -> dict[str, int]:
        """Returns what was not given and follows from what was."""
        implied = {}
        if {"num_steps", "num_train_events", "num_epochs"} & self.given.keys():
            # Who names the work means whole passes, not the short epochs of the default run.
            implied["steps_per_epoch"] = 0
        if self.given.get("padding") == "tight" or self.files.fit:
            # Tight padding has no other way, and --fit asks what fits at once.
            implied["events_at_once"] = 0
        return {name: value for name, value in implied.items() if name not in self.given}


def read(values: flags.FlagValues) -> Request:
    """Returns what the parsed flags ask for.

    Raises:
        ValueError: if they contradict each other whatever the platform is, or name a preset that
            cannot be read.
    """
    given = _given(values)
    AbbreviationConfig(**_pick(AbbreviationConfig, given))
    if given.keys() >= _BATCH_SIZES:
        raise ValueError("--batch_size and --global_batch_size exclude each other: give one.")
    if given.get("num_steps", 1) < 1:
        raise ValueError(f"--num_steps={given['num_steps']}: must be at least 1.")
    files = config_lib.FilesConfig(**_pick(config_lib.FilesConfig, given))
    if files.fit and given.get("padding") == "tight":
        raise ValueError("--fit asks for --padding=full: tight padding needs no more memory.")
    return Request(given, files)


def _given(values: flags.FlagValues) -> dict[str, Any]:
    """Returns the flags that were given, by the name of the field, those of a preset below."""
    given = {}
    for config in _CONFIGS:
        for name, said in settings.settings_of(config).items():
            if (value := values[said.flag or name].value) is not None:
                given[name] = value
    if "preset" not in given:
        return given
    hidden = _BATCH_SIZES if _BATCH_SIZES & given.keys() else set()
    below = _of_preset(presets.find(given["preset"]))
    return {name: value for name, value in below.items() if name not in hidden} | given


def _of_preset(path: Path) -> dict[str, Any]:
    values = define()
    try:
        stray = values([str(path), *arguments.read_file(path)])[1:]
    except flags.Error as error:
        raise ValueError(f"{path}: {error}") from None
    if stray or values["preset"].value is not None:
        what = stray[0] if stray else "--preset"
        raise ValueError(
            f"{path}: {what}: a preset holds settings, --name=value, one in each line."
        )
    return _given(values)


def _pick(config: type, chosen: Mapping[str, Any]) -> dict[str, Any]:
    names = settings.settings_of(config)
    return {name: value for name, value in chosen.items() if name in names}


def _defaults(platform: str) -> dict[str, Any]:
    """Returns the defaults of the flags; where a flag has none, the field's own holds."""
    return {
        name: default
        for config in _CONFIGS
        for name, said in settings.settings_of(config).items()
        if (default := said.on_cpu if platform == "cpu" else said.on_accelerator) is not None
    }


def _batch_size(chosen: Mapping[str, Any], given: Mapping[str, Any]) -> int:
    total, num_devices = chosen.get("global_batch_size"), chosen["num_devices"]
    if "batch_size" in given or total is None:
        return chosen["batch_size"]
    if num_devices >= 1 and total % num_devices:
        raise ValueError(
            f"--global_batch_size={total} cannot be shared evenly by "
            f"--num_devices={num_devices}: make it a multiple, or set --batch_size."
        )
    return total // max(num_devices, 1)
