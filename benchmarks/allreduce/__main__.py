"""Measures the bandwidth of an all-reduce over all devices of one or several processes.

    srun -n 4 python -m benchmarks.allreduce --num_devices=4 --out=allreduce.json
    srun -n 4 python -m benchmarks.allreduce --num_devices=4 --step=published --batch=16
    JAX_PLATFORMS=cpu python -m benchmarks.allreduce --num_devices=2

Sizes go from 1 kB to --max_mb, and include the 13.1 MB of the network's gradient. As nccl-tests
defines it, the algorithm's bandwidth is the size over the time, and that of the bus is this times
2 (n - 1) / n for n devices, which a ring's links carry. `wrong` counts the sums of known integers
that differ. `--step` also times a training step with the all-reduce, without it, and without it
while only process 0 computes: the share of communication, and the scaling efficiency.

Exit status: 0, 1 if a sum was wrong or a process was lost, 2 for wrong usage.
"""

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from mlpf_jax import cli, runtime, stopping
from mlpf_jax import config as config_lib
from mlpf_jax.hosts import group as group_lib
from mlpf_jax.hosts import launchers, meeting, starting
from mlpf_jax.measure import environment

_DEVICES = flags.DEFINE_integer("num_devices", 2, "Devices of all processes.", lower_bound=1)
_MAX_MB = flags.DEFINE_float("max_mb", 256.0, "Largest size in 10^6 bytes.", lower_bound=0.001)
_SECONDS = flags.DEFINE_float("seconds", 0.5, "Shortest time to measure a size for.")
_STEP = flags.DEFINE_enum(
    "step", None, ["published", "small"], "Also time training steps of a network of this size."
)
_BATCH = flags.DEFINE_integer("batch", 1, "Events per device in such a step.", lower_bound=1)
_NUM_ELEMENTS = flags.DEFINE_integer(
    "num_elements", 6400, "Elements per event in such a step.", lower_bound=1
)
_OUT = flags.DEFINE_string("out", None, "File for the table as JSON.")
_GRADIENT_BYTES = 4 * 3_285_841  # of the network with its published sizes
_MOST_ROUNDS = 200
_TIMEOUT_S = 30.0


def main(argv: Sequence[str]) -> int:
    del argv
    with stopping.Stop() as stop:
        try:
            place = launchers.place(config_lib.HostsConfig(), os.environ)
            num_local = _DEVICES.value // (place.num_processes if place else 1)
            runtime.prepare(max(1, num_local))
            group = _join(place, stop)
            devices = _devices(group, max(1, num_local))
            step_config = None if _STEP.value is None else _step_config(_STEP.value)
        except ValueError as error:
            return cli.complain(error, cli.USAGE)
        return _measure(devices, group, step_config)


def _join(place: launchers.Placement | None, stop: stopping.Stop) -> group_lib.Group | None:
    if place is None:
        return None
    member = meeting.myself(place.process_id, starting.visible_devices())
    settings = (_DEVICES, _MAX_MB, _SECONDS, _STEP, _BATCH, _NUM_ELEMENTS)
    facts = {one.name: str(one.value) for one in settings}
    met = meeting.meet(place, member, facts | environment.versions(), _TIMEOUT_S)
    group_lib.joined = group_lib.Group(met, place, stop, _TIMEOUT_S).start()
    return group_lib.joined


def _devices(group: group_lib.Group | None, num_local: int) -> Sequence[Any]:
    import jax

    runtime.set_up_jax(num_local)
    if group is not None:
        starting.start_jax(group, starting.own_share(group.members, group.process_id))
    devices = jax.devices()
    if len(devices) < _DEVICES.value or (group and len(devices) != _DEVICES.value):
        raise ValueError(f"--num_devices={_DEVICES.value}: {len(devices)} are here.")
    return devices[: _DEVICES.value]


def _step_config(network: str) -> config_lib.RunConfig:
    from benchmarks.step import workload

    return workload.run_config(network, _BATCH.value, _NUM_ELEMENTS.value)


def _measure(
    devices: Sequence[Any],
    group: group_lib.Group | None,
    step_config: config_lib.RunConfig | None,
) -> int:
    is_first = group is None or group.process_id == 0
    lines = []
    if is_first:
        print("      bytes     time us   algbw GB/s   busbw GB/s   wrong   rounds")
    for size in sizes(_MAX_MB.value * 1e6):
        seconds, wrong = _time(devices, size // 4, group)
        line = described(size, statistics.median(seconds), wrong, len(devices), len(seconds))
        lines.append(line)
        if is_first:
            print(
                f"{size:11d} {line['time_us']:11.1f} {line['algbw_gb_s']:12.4f} "
                f"{line['busbw_gb_s']:12.4f} {wrong:7d} {len(seconds):8d}",
                flush=True,
            )
    step = None if step_config is None else _measure_step(devices, group, step_config)
    if is_first and _OUT.value:
        _write(Path(_OUT.value), devices, group, lines, step)
    if group is not None:
        group.finish()
    return cli.FAILURE if any(line["wrong"] for line in lines) else 0


def _measure_step(
    devices: Sequence[Any], group: group_lib.Group | None, config: config_lib.RunConfig
) -> dict[str, float | None]:
    """Times a training step, and prints and returns what was found."""
    from benchmarks.allreduce import steps

    found = steps.measure(devices, group, config, _SECONDS.value)
    if group is None or group.process_id == 0:
        print(
            f"training step: {1e3 * found.with_s:.4g} ms, {1e3 * found.without_s:.4g} ms without "
            f"the all-reduce: {100 * found.share:.1f} % communication"
        )
        if found.efficiency is not None and found.alone_s is not None:
            print(
                f"process 0 alone: {1e3 * found.alone_s:.4g} ms without the all-reduce; scaling "
                f"efficiency {100 * found.efficiency:.1f} %"
            )
    return dataclasses.asdict(found) | {"share": found.share, "efficiency": found.efficiency}


def sizes(most: float) -> list[int]:
    """Returns the sizes in bytes: powers of 4 from 1 kB, and the gradient's."""
    powers = [1000 * 4**i for i in range(10)]
    return sorted({size for size in (*powers, _GRADIENT_BYTES, int(most)) if size <= most})


def described(size: int, seconds: float, wrong: int, num: int, rounds: int) -> dict[str, Any]:
    """Returns a line of the table, with the bandwidths as nccl-tests defines them."""
    algorithm = size / seconds / 1e9
    return {
        "bytes": size,
        "time_us": 1e6 * seconds,
        "algbw_gb_s": algorithm,
        "busbw_gb_s": algorithm * 2 * (num - 1) / num,
        "wrong": wrong,
        "rounds": rounds,
    }


def _time(
    devices: Sequence[Any], size: int, group: group_lib.Group | None
) -> tuple[list[float], int]:
    """Returns the seconds of each round, of process 0, and the number of wrong sums in the last."""
    import jax
    import numpy as np

    from mlpf_jax.hosts import collectives

    rows, expected = collectives.known(devices, size)
    given = collectives.placed(devices, rows)
    add = collectives.all_reduce(devices).lower(given).compile()
    found = jax.block_until_ready(add(given))
    seconds: list[float] = []
    is_enough = False
    while not is_enough:
        start = time.perf_counter()
        found = jax.block_until_ready(add(given))
        seconds.append(time.perf_counter() - start)
        if len(seconds) % 5 == 0:
            is_enough = sum(seconds) > _SECONDS.value or len(seconds) >= _MOST_ROUNDS
            is_enough = is_enough if group is None else group.share(is_enough)
    return seconds, int(np.count_nonzero(np.asarray(found) != expected))


def _write(
    path: Path,
    devices: Sequence[Any],
    group: group_lib.Group | None,
    lines: list[dict[str, Any]],
    step: dict[str, float | None] | None,
) -> None:
    document = {
        "environment": environment.describe(),
        "device": devices[0].device_kind,
        "num_devices": len(devices),
        "num_processes": 1 if group is None else len(group.members),
        "lines": lines,
        "step": step,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def run_app() -> None:
    """Runs the program."""
    try:
        cli.run(main)
    except SystemExit as end:
        group_lib.exit_at_once(int(end.code or 0))
        raise


if __name__ == "__main__":
    run_app()
