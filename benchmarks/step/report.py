"""The profile of a step: peak rates, parts in isolation, whole steps; and its report as text."""

import dataclasses
from collections.abc import Callable, Iterator

import jax

from benchmarks.step import pieces, roofs, sampling, whole, workload
from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib


@dataclasses.dataclass(frozen=True)
class Pass:
    """A part's forward pass, or forward pass with gradients, timed in isolation."""

    samples: sampling.Samples
    median_s: float
    spread_s: float
    flops: float  # of products, from the shapes
    xla_flops: float | None  # of everything, as XLA counts
    num_bytes: int  # of arguments and results
    peak_share: float  # share of the machine's peak for products
    bandwidth_share: float  # share of the machine's peak for copies


@dataclasses.dataclass(frozen=True)
class Row:
    """One part in isolation."""

    name: str
    num_in_step: int
    forward: Pass
    both: Pass | None  # None if it has no gradient


@dataclasses.dataclass(frozen=True)
class Report:
    """All measurements."""

    device: str
    roofs: roofs.Roofs
    rows: tuple[Row, ...]
    wholes: tuple[whole.Whole, ...]
    on_one_core: tuple[whole.Whole, ...] = ()  # measured in another process


def shows_products() -> bool:
    """Whether a trace on all cores contains matrix products: XLA's on a CPU does not."""
    return jax.default_backend() != "cpu"


def measure(
    config: config_lib.RunConfig,
    batch: batch_lib.EventBatch,
    *,
    num_samples: int,
    with_parts: bool,
    with_traces: bool,
    tell: Callable[[str], None],
) -> Report:
    """Measures roofs, parts and whole steps of a batch that has the device axis in front."""
    tell("measuring the machine")
    found = roofs.measure(config.model.precision)
    tell("drawing the weights")
    initial = workload.drawn_state(config)
    rows = []
    one = jax.tree.map(lambda x: x[0], batch)
    for piece in pieces.make(config, initial, one) if with_parts else ():
        tell(f"measuring {piece.name}")
        rows.append(_row(piece, found, num_samples))
    wholes = []
    for name, make in (
        ("inference", workload.inference_step),
        ("training", workload.training_step),
    ):
        tell(f"measuring {'and tracing ' if with_traces else ''}a whole step of {name}")
        step = make(config, initial, batch)
        wholes.append(whole.measure(name, step, num_samples, traces_it=with_traces))
    kind = jax.local_devices()[0].device_kind
    return Report(kind, found, tuple(rows), tuple(wholes))


def _row(piece: pieces.Piece, found: roofs.Roofs, num_samples: int) -> Row:
    both = None
    if piece.num_with_gradient:
        both = _pass(*piece.forward_and_backward(), piece.flops_with_backward, found, num_samples)
    forward = _pass(*piece.forward(), piece.flops, found, num_samples)
    return Row(piece.name, piece.num_in_step, forward, both)


def _pass(function, arguments, flops: float, found: roofs.Roofs, num_samples: int) -> Pass:
    lowered = jax.jit(function).lower(*arguments)
    samples = sampling.sample_calls(lowered.compile(), arguments, num_samples=num_samples)
    median = samples.summary.median
    moved = pieces.num_bytes(function, arguments)
    analysis = lowered.cost_analysis()
    return Pass(
        samples=samples,
        median_s=median,
        spread_s=samples.summary.spread,
        flops=flops,
        xla_flops=float(analysis["flops"]) if analysis and "flops" in analysis else None,
        num_bytes=moved,
        peak_share=flops / median / found.flops_per_s,
        bandwidth_share=moved / median / found.bytes_per_s,
    )


def text(found: Report) -> str:
    """Returns the tables as Markdown."""
    lines = [
        f"{found.device}: products {found.roofs.flops_per_s / 1e9:.4g} GFLOP/s "
        f"({found.roofs.matrix_size} x {found.roofs.matrix_size}), copies "
        f"{found.roofs.bytes_per_s / 1e9:.4g} GB/s ({found.roofs.copied_bytes / 2**20:.0f} MiB)",
        "",
    ]
    if found.rows:
        lines += [*_table_of_parts(found), ""]
    for one in found.wholes:
        lines += [*_table_of_whole(one), ""]
    for one in found.on_one_core:
        lines += ["On one core:", "", *_table_of_whole(one), ""]
    return "\n".join(lines)


def _table_of_parts(found: Report) -> Iterator[str]:
    yield (
        "| part by itself | in a step | pass | ms | spread | GFLOP | XLA's | MB "
        "| of products' peak | of copies' peak |"
    )
    yield "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|"
    for row in found.rows:
        for name, one in (("forward", row.forward), ("and backward", row.both)):
            if one is not None:
                xla = "" if one.xla_flops is None else f"{one.xla_flops / 1e9:.3g}"
                yield (
                    f"| {row.name} | {row.num_in_step} | {name} | {1e3 * one.median_s:.3g} | "
                    f"{100 * one.spread_s / one.median_s:.2g} % | {one.flops / 1e9:.3g} | {xla} | "
                    f"{one.num_bytes / 1e6:.3g} | {100 * one.peak_share:.2g} % | "
                    f"{100 * one.bandwidth_share:.2g} % |"
                )


def _table_of_whole(one: whole.Whole) -> Iterator[str]:
    """Shares refer to the covered time; overlapping operations share it equally."""
    summary = one.samples.summary
    step = (
        f"{one.name}: {1e3 * one.step_s:.4g} ms a step (spread {1e3 * summary.spread:.2g} ms, "
        f"{summary.count} samples)"
    )
    if one.num_launches is not None and one.num_bytes is not None:
        step += f", {one.num_launches} launches that move {one.num_bytes / 1e9:.3g} GB"
    found = one.breakdown
    if found is None:
        yield f"{step}, not traced: {one.no_breakdown}" if one.no_breakdown else step
        return
    yield (
        f"{step}, {1e3 * found.traced_s:.4g} ms traced; its operations cover "
        f"{1e3 * found.covered_s:.4g} ms, {100 * found.coverage:.3g} % of that; "
        f"their own lengths sum to {1e3 * found.sum_s:.4g} ms"
    )
    yield ""
    yield f"| part of {one.name} | forward, ms | backward or update, ms | share |"
    yield "|---|---:|---:|---:|"
    for row in found.parts:
        yield (
            f"| {row.part} | {1e3 * row.forward_s:.3g} | {1e3 * row.backward_s:.3g} | "
            f"{100 * row.seconds / found.covered_s:.3g} % |"
        )
    yield f"| all | {1e3 * sum(r.forward_s for r in found.parts):.4g} | " + (
        f"{1e3 * sum(r.backward_s for r in found.parts):.4g} | 100 % |"
    )
