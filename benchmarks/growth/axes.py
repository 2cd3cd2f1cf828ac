"""The axes of growth, and the settings of the runs at each size."""

from collections.abc import Mapping, Sequence

from mlpf_jax.study import engine, findings

NUM_STEPS, _NUM_INFER_SAMPLES = 7, 4

# The values are for the published network with 6400 elements.
AXES: Mapping[str, engine.Axis] = {
    axis.name: axis
    for axis in (
        engine.Axis("batch", (1, 2, 4, 8, 16, 32, 64), ("batch_size",), "events per step"),
        engine.Axis(
            "elements",
            (1280, 2560, 5120, 6400, 12_800, 25_600),
            ("num_elements",),
            "elements per event",
        ),
        engine.Axis("bin_size", (64, 128, 320, 640, 1280, 3200), ("bin_size",), "elements per bin"),
        engine.Axis("devices", (1, 2, 4, 8), ("num_devices",), "virtual devices"),
        engine.Axis(
            "layers", (1, 2, 3, 4, 6), ("num_id_layers", "num_energy_layers"), "layers per chain"
        ),
    )
}


def kind(axis: engine.Axis) -> findings.Kind:
    """Returns the kind of a study along the axis."""
    return findings.Kind(
        name=f"growth-{axis.name}",
        title=f"Growth with {axis.label}",
        flag=axis.flags[0],
        label=axis.label,
        has_powers=True,
    )


def sweep(
    axis: engine.Axis,
    words: Sequence[str],
    settings: Sequence[str],
    *,
    repeats: int,
    batch_size: int = 1,
    num_steps: int = NUM_STEPS,
) -> engine.Sweep:
    """Returns the given sizes, or the default ones; all steps of a run have full batches.

    Raises:
        engine.StudyError: if there are too few sizes for a law, or another number is too small.
    """
    if num_steps < 4:
        raise engine.StudyError(f"--num_steps={num_steps}: must be at least 4.")
    if batch_size < 1:
        raise engine.StudyError(f"--batch={batch_size}: must be at least 1.")
    given = {"batch_size": batch_size, "num_devices": 1, "num_infer_samples": _NUM_INFER_SAMPLES}
    given |= {"num_steps": num_steps, **_num_events(batch_size)}
    return engine.Sweep(
        points=tuple(_point(axis, value, batch_size) for value in _values(axis, words)),
        arguments=(*settings, "--quiet", *(f"--{flag}={value}" for flag, value in given.items())),
        repeats=repeats,
        seed=1,
    )


def _point(axis: engine.Axis, value: int, batch_size: int) -> engine.Point:
    own = dict.fromkeys(axis.flags, value)
    together = {"batch": value, "devices": value * batch_size}.get(axis.name)
    return engine.Point.of(own if together is None else own | _num_events(together))


def _num_events(together: int) -> dict[str, int]:
    return {"num_train_events": 2 * together, "num_test_events": together}


def _values(axis: engine.Axis, words: Sequence[str]) -> list[int]:
    try:
        values = sorted({int(word) for word in words or axis.values})
    except ValueError:
        raise engine.StudyError(f"--values={','.join(words)}: must be whole numbers.") from None
    if len(values) < 3 or values[0] < 1:
        raise engine.StudyError(
            "--values: a law needs at least three different sizes, each at least 1."
        )
    return values
