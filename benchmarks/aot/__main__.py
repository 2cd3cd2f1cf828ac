"""Compiles the benchmark's steps for GPUs and TPUs without having one, and analyses the programs.

    python -m benchmarks.aot --target=h200 --batch=16 --json=FILE
    python -m benchmarks.aot --target=h200 --target=a100 --precision=float32 --precision=tf32
    python -m benchmarks.aot --target=v5p:2x2x1 --precision=bf16 --pair_kernel=pallas

It needs an environment with CUDA's plugin or libtpu (`locks/cuda12.txt`, `locks/tpu.txt`), but no
device. Without them it only lowers the steps, and reports that. Nothing is run, so there are no
speeds and no results. At the end it prints which precisions compile for which target. The compiler
takes the flags of XLA_FLAGS alone; a run on a GPU has --xla_gpu_deterministic_ops=true as well.
With it, JAX 0.12 compiles no product without a device but with --xla_gpu_enable_triton_gemm=false.
"""

import dataclasses
import functools
import json
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from absl import flags

from benchmarks.aot import table, targets
from mlpf_jax import cli, keeping
from mlpf_jax import config as config_lib

_TARGETS = flags.DEFINE_multi_enum(
    "target",
    ["h200"],
    list(targets.PLATFORMS),
    "Device to compile for.",
)
_NETWORK = flags.DEFINE_enum("network", "published", ["published", "small"], "Its sizes.")
_BATCH = flags.DEFINE_integer("batch", 16, "Events per step.", lower_bound=1)
_JSON = flags.DEFINE_string(
    "json", None, "File for the results; programs are added to an existing file."
)
_PRECISIONS = flags.DEFINE_multi_enum(
    "precision", ["tf32"], get_args(config_lib.Precision), "Of matrix products."
)
_KERNELS = flags.DEFINE_multi_enum(
    "pair_kernel",
    ["xla"],
    ["xla", "pallas"],
    "Implementation of message passing; pallas is for TPUs.",
)
_PHASES = flags.DEFINE_multi_enum(
    "phase", ["train", "infer"], ["train", "infer"], "Step to compile."
)
_STACKS_CHAINS = flags.DEFINE_bool(
    "stacks_chains",
    True,
    "Compute both chains of layers at once, as the benchmark does on accelerators.",
)
_NUM_ELEMENTS = flags.DEFINE_integer("num_elements", 6400, "Elements per event, including padding.")


def main(argv: Sequence[str]) -> int:
    """Compiles every combination, one after another."""
    if len(argv) > 1:
        return cli.complain(f"stray argument: {argv[1]}.", cli.USAGE)
    targets.prepare()
    path = Path(_JSON.value) if _JSON.value else None
    try:
        chosen = _combinations()
        document = _document()
        programs = []
        if path:
            keeping.try_file(path)
            programs += table.earlier_programs(path, document)
    except (OSError, ValueError) as error:
        return cli.complain(error, cli.USAGE)
    print(table.HEADINGS)
    try:
        for target, config, phase in chosen:
            programs.append(_describe_program(targets.describe(target), config, phase))
            print(table.row(programs[-1]), flush=True)
            if path:
                text = json.dumps(document | {"programs": programs}, indent=1, allow_nan=False)
                keeping.write_file(path, f"{text}\n".encode())
    except (OSError, ValueError, RuntimeError) as error:
        return cli.complain(error, cli.FAILURE)
    print(f"\n{table.matrix(programs)}")
    return 0


def _combinations() -> list[tuple[str, config_lib.RunConfig, str]]:
    """Returns targets, settings and phases.

    Raises:
        ValueError: if one of them is impossible.
    """
    return [
        (target, _config(target, cast(config_lib.Precision, precision), kernel), phase)
        for target in _TARGETS.value
        for precision in _PRECISIONS.value
        for kernel in _KERNELS.value
        for phase in _PHASES.value
    ]


def _config(target: str, precision: config_lib.Precision, kernel: str) -> config_lib.RunConfig:
    from benchmarks.step import workload

    if kernel == "pallas":
        platform = targets.PLATFORMS[target]
        kernel = config_lib.fused_pair_kernel("tpu" if platform == "tpu" else "gpu")
    return config_lib.RunConfig(
        model=dataclasses.replace(
            workload.NETWORKS[_NETWORK.value],
            precision=precision,
            pair_kernel=cast(config_lib.PairKernel, kernel),
        ),
        data=config_lib.DataConfig(num_elements=_NUM_ELEMENTS.value),
        train=config_lib.TrainConfig(batch_size=_BATCH.value, stacks_chains=_STACKS_CHAINS.value),
        parallel="shard_map",
    )


def _describe_program(target: targets.Target, config, phase: str) -> dict[str, Any]:
    """Lowers one step and, if there is a compiler, compiles it."""
    found: dict[str, Any] = {
        "target": target.name,
        "device": target.device.device_kind if target.device else None,
        "why_not_compiled": target.reason or None,
        "phase": phase,
        "precision": config.model.precision,
        "pair_kernel": config.model.pair_kernel,
        "network": _NETWORK.value,
        "batch": config.train.batch_size,
        "stacks_chains": config.train.stacks_chains,
    }
    if config.model.precision == "tf32" and target.platform != "cuda":
        return found | {"why_not_compiled": "no TF32", "compiled": None}
    start = time.perf_counter()
    lowered = _lower(config, phase, target)
    found["lower_s"] = time.perf_counter() - start
    found["stablehlo"] = _operations(lowered.as_text())
    return found | {"compiled": _compile(lowered) if target.device else None}


def _lower(config, phase, target):
    import jax

    from mlpf_jax.events import batch as batch_lib
    from mlpf_jax.training import parallel, state, step

    if target.device is None:
        spread = parallel.Devices.described(targets.ABSENT[target.platform])
    else:
        spread = parallel.Devices([target.device], config.parallel)
    batch = batch_lib.abstract_batch(
        1, config.train.batch_size, num_elements=config.data.num_elements
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    abstract = state.shapes(config)
    if phase == "train":
        function = spread.spread_train_step(functools.partial(step.train_step, config))
        traced = function.trace(abstract, batch, key)
    else:
        function = spread.spread_infer_step(functools.partial(step.infer_step, config))
        traced = function.trace(abstract, batch)
    return traced.lower(lowering_platforms=(target.platform,))


def _operations(text: str) -> dict[str, int]:
    """Counts the operations of StableHLO by name."""
    names = Counter(re.findall(r"(?<!#)stablehlo\.(\w+)", text))
    return dict(names.most_common())


def _compile(lowered) -> dict[str, Any]:
    import jax

    from benchmarks.aot import hlo
    from mlpf_jax.measure import memory

    start = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        return {"error": str(error)[:300]}
    seconds = time.perf_counter() - start
    traffic = hlo.traffic(compiled.as_text())
    analysis = compiled.cost_analysis() or {}
    return {
        "compile_s": seconds,
        "memory": dataclasses.asdict(memory.of_step(compiled)),
        "launches": traffic.launches,
        "num_launches": traffic.num_launches,
        "bytes_moved": traffic.num_bytes,
        "xla_flops": analysis.get("flops"),
        "xla_bytes_accessed": analysis.get("bytes accessed"),
    }


def _document() -> dict[str, Any]:
    from mlpf_jax.measure import environment, xla_flags
    from mlpf_jax.training import cost, state

    config = _config("h200", "float32", "xla")
    graph = cost.graph_cost(config, state.shapes(config))
    return {
        "num_elements": _NUM_ELEMENTS.value,
        "flops_per_event": {"train": graph.train_flops, "infer": graph.infer_flops},
        "xla_flags": xla_flags.shown(os.environ.get("XLA_FLAGS", "")),
        "environment": environment.describe(),
    }


if __name__ == "__main__":
    cli.run(main, takes_files=True)
