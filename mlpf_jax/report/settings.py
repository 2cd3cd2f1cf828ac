"""The meaning of differences between the settings of two runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from mlpf_jax.report.fields import ALL, PHASES, Effect, Told, marks, refuses

_NETWORK = refuses(ALL, "another network")
_TRAINING = marks(("epochs",), "another training")
_CACHE = marks(PHASES, "a step compiled in its process may run slower")
EFFECTS = (_NETWORK, _CACHE, _TRAINING)
# Effects of a different value, by name of the setting or its section. Others have no effect.
_EFFECTS: dict[str, tuple[Effect, ...]] = {
    "model": (_NETWORK,),
    "model.pair_kernel": (),
    "data.num_elements": (_NETWORK,),
    "data.shuffle": (_TRAINING,),
    "seed": (_TRAINING,),
    "train.learning_rate": (_TRAINING,),
    "train.decay_steps": (_TRAINING,),
    "train.decay_rate": (_TRAINING,),
}
_TOLD_ELSEWHERE = {
    "model.precision",  # also in run_info
    "data.padding",  # likewise
    "padding",  # of some older files
    "num_devices",  # part of the hardware, or virtual
    "train.batch_size",  # per device; both batch sizes are facts by name
    "train.num_epochs",
    "train.steps_per_epoch",
    "train.num_steps",  # all three: "steps by epoch"
    "measures_compile",  # see "steps from a cache"
    "num_infer_samples",  # duration of the measurement only
    "data.num_train_events",
    "data.num_test_events",  # events
}


def tell(config: Mapping[str, Any]) -> Iterator[Told]:
    """Yields the facts of a configuration in a report."""
    told = "no" if config.get("measures_compile", True) else "yes"
    yield "settings", "steps from a cache", told, (_CACHE,)
    for name, value in _flat("", config):
        if name not in _TOLD_ELSEWHERE:
            section = name.partition(".")[0]
            yield "settings", name, value, _EFFECTS.get(name, _EFFECTS.get(section, ()))


def _flat(prefix: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value
