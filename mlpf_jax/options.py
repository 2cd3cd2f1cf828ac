"""The flags of a run: defined by the fields of the configs, and parsed before JAX starts.

A field made by `settings.setting` is a flag of the same name. `define` makes the flags, `read`
returns the user's request, and `Request.run_config` returns the only configuration that the rest of
the program sees, once the platform is known. Nothing else reads the flags.
"""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from mlpf_jax import arguments, presets, settings
from mlpf_jax import config as config_lib
from mlpf_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoiceConfig:
    """Choices that determine other settings."""

    preset: str | None = setting(
        None,
        f"Settings of a preset, one of {', '.join(presets.NAMES)}, or of a flag file. Flags on "
        "the command line take precedence over it, in any order.",
    )
    platform: config_lib.Platform = setting(
        "auto",
        "Where to run. auto: on accelerators if JAX can use some, else on the CPU.",
    )
    global_batch_size: int | None = setting(
        None,
        "Events per step on all devices together, instead of --batch_size. With "
        "--num_devices=all, the nearest number that can be divided evenly.",
        on_accelerator=16,
        at_least=1,
    )

    def __post_init__(self):
        settings.check(self)


_CONFIGS = (
    ChoiceConfig,
    config_lib.RunConfig,
    config_lib.DataConfig,
    config_lib.TrainConfig,
    config_lib.ModelConfig,
    config_lib.PriceConfig,
    config_lib.HostsConfig,
    config_lib.FilesConfig,
)
_UNTOLD = (config_lib.HostsConfig, config_lib.FilesConfig)
_BATCH_SIZES = {"batch_size", "global_batch_size"}


class _PathParser(flags.ArgumentParser):
    def parse(self, argument: str) -> Path:
        if not argument:
            raise ValueError("give a file or folder")
        return Path(argument)


class _WordOrIntegerParser(flags.ArgumentParser):
    def __init__(self, word: str):
        self._word = word

    def parse(self, argument: str) -> int | str:
        return argument if argument == self._word else flags.IntegerParser().parse(argument)


_PARSERS: Mapping[Any, type[flags.ArgumentParser]] = {
    int: flags.IntegerParser,
    float: flags.FloatParser,
    str: flags.ArgumentParser,
    Path: _PathParser,
}


def define() -> flags.FlagValues:
    """Returns all flags of a run, unparsed, with a group for each config."""
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
    """Defines one flag. Its value is None if not given; the default is only shown in the help."""
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
        parser = _WordOrIntegerParser(said.word) if said.word else _PARSERS[hint]()
        flags.DEFINE(parser, name, None, text, **where)


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
    """The user's request. Defaults of other settings depend on the platform."""

    given: Mapping[str, Any]  # by the name of the field
    files: config_lib.FilesConfig
    price: config_lib.PriceConfig = dataclasses.field(default_factory=config_lib.PriceConfig)
    arguments: tuple[str, ...] = ()  # as they were given, without those that name files
    hosts: config_lib.HostsConfig = dataclasses.field(default_factory=config_lib.HostsConfig)

    @property
    def platform(self) -> config_lib.Platform:
        """The requested platform."""
        return self.given.get("platform", "auto")

    @property
    def num_virtual_devices(self) -> int:
        """Number of virtual devices on a CPU."""
        return self._num_devices("cpu", config_lib.NUM_VIRTUAL_DEVICES)

    def check(self) -> config_lib.RunConfig:
        """Returns a config that some machine of the platform could run, without using JAX.

        Raises:
            ValueError: if no machine could run it.
        """
        platforms = ("cpu", "gpu", "tpu") if self.platform == "auto" else (self.platform,)
        refusals = []
        for platform in platforms:
            for num_local in range(1, 2 if platform == "cpu" else 17):
                try:
                    return self.run_config(platform, num_local)
                except ValueError as error:
                    refusals.append(error)
        raise refusals[0]

    def run_config(self, platform: str, num_local: int) -> config_lib.RunConfig:
        """Returns the config for a number of devices of a platform, by JAX's name of the platform.

        Raises:
            ValueError: if settings contradict each other or are impossible.
        """
        chosen = self._chosen(platform)
        if chosen["pair_kernel"] == "pallas":
            chosen["pair_kernel"] = config_lib.fused_pair_kernel(platform)
        chosen["num_devices"] = self._num_devices(platform, num_local)
        if (total := self._global_batch_size(platform)) is not None:
            is_demanded = "num_devices" in self.given and self.given["num_devices"] != "all"
            chosen["batch_size"] = _share(total, chosen["num_devices"], exactly=is_demanded)
        return config_lib.RunConfig(
            model=config_lib.ModelConfig(**_pick(config_lib.ModelConfig, chosen)),
            data=config_lib.DataConfig(**_pick(config_lib.DataConfig, chosen)),
            train=config_lib.TrainConfig(**_pick(config_lib.TrainConfig, chosen)),
            **_pick(config_lib.RunConfig, chosen),
        )

    def departure(self, platform: str, config: config_lib.RunConfig) -> str | None:
        """Returns one line about the difference between the config and the request."""
        total = self._global_batch_size(platform)
        if total in (None, config.global_batch_size):
            return None
        return (
            f"{total} events per step cannot be divided evenly among {config.num_devices} "
            f"devices: each takes {config.train.batch_size}, {config.global_batch_size} in all"
        )

    def _chosen(self, platform: str) -> dict[str, Any]:
        return {**_defaults(platform), **self.given, **self._implied()}

    def _num_devices(self, platform: str, num_local: int) -> int:
        asked = self.given.get("num_devices", "all")
        if asked != "all":
            return asked
        return config_lib.NUM_VIRTUAL_DEVICES if platform == "cpu" else num_local

    def _global_batch_size(self, platform: str) -> int | None:
        """Returns the requested events per step; None: the number is given per device."""
        return (
            None if "batch_size" in self.given else self._chosen(platform).get("global_batch_size")
        )

    def _implied(self) -> dict[str, int]:
        """Returns settings that follow from the given ones."""
        implied = {}
        if {"num_steps", "num_train_events", "num_epochs"} & self.given.keys():
            # If the amount of work is given, epochs are whole passes, not the short default ones.
            implied["steps_per_epoch"] = 0
        if self.given.get("padding") == "tight" or self.files.fit:
            # Tight padding requires it, and --fit tests the whole batch at once.
            implied["events_at_once"] = 0
        if self.files.fit:
            implied["num_steps"] = 2  # however large the batch: nothing is trained
        return {name: value for name, value in implied.items() if name not in self.given}


def read(values: flags.FlagValues) -> Request:
    """Returns the request of the parsed flags.

    Raises:
        ValueError: if they contradict each other on every platform, or the preset cannot be read.
    """
    given = _given(values)
    ChoiceConfig(**_pick(ChoiceConfig, given))
    if given.keys() >= _BATCH_SIZES:
        raise ValueError("--batch_size and --global_batch_size exclude each other: give one.")
    if given.get("num_steps", 1) < 1:
        raise ValueError(f"--num_steps={given['num_steps']}: must be at least 1.")
    files = config_lib.FilesConfig(**_pick(config_lib.FilesConfig, given))
    if files.fit and given.get("padding") == "tight":
        raise ValueError("--fit needs --padding=full: tight padding needs no more memory.")
    if files.fit and given.get("events_at_once", 0) > 1:
        raise ValueError(
            f"--fit tries batches that --events_at_once={given['events_at_once']} does not divide: "
            "choose --events_at_once=0."
        )
    price = config_lib.PriceConfig(**_pick(config_lib.PriceConfig, given))
    hosts = config_lib.HostsConfig(**_pick(config_lib.HostsConfig, given))
    return Request(given, files, price, tuple(_told(values)), hosts)


def _told(values: flags.FlagValues) -> Iterator[str]:
    """Gives the flags that a report may show: a path or a host can tell of a user or a site."""
    for config in _CONFIGS:
        for name, said in settings.settings_of(config).items():
            flag = said.flag or name
            value = values[flag].value
            if config in _UNTOLD or value is None:
                continue
            if name == "preset" and value not in presets.NAMES:
                value = "FILE"
            yield f"--{flag}={value}"


def _given(values: flags.FlagValues) -> dict[str, Any]:
    """Returns the given flags by name of the field, with lower precedence for a preset's."""
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
        raise ValueError(f"{path}: {what}: a preset contains settings, --name=value, one per line.")
    return _given(values)


def _pick(config: type, chosen: Mapping[str, Any]) -> dict[str, Any]:
    names = settings.settings_of(config)
    return {name: value for name, value in chosen.items() if name in names}


def _defaults(platform: str) -> dict[str, Any]:
    """Returns the defaults of the flags; without one, the default of the field applies."""
    return {
        name: default
        for config in _CONFIGS
        for name, said in settings.settings_of(config).items()
        if (default := said.on_cpu if platform == "cpu" else said.on_accelerator) is not None
    }


def _share(total: int, num_devices: int, *, exactly: bool) -> int:
    """Returns the events per device; without `exactly`, the nearest number."""
    if num_devices < 1 or total % num_devices == 0:
        return total // max(num_devices, 1)
    if exactly:
        raise ValueError(
            f"--global_batch_size={total} cannot be divided evenly among "
            f"--num_devices={num_devices}: make it a multiple, or set --batch_size."
        )
    return max(1, round(total / num_devices))
