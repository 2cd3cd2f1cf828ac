"""Prints the summary of a run on one screen."""

import io
from io import TextIOBase

import rich.console
import rich.markup
import rich.panel
import rich.table

from mlpf_jax import streams
from mlpf_jax.render import tables
from mlpf_jax.report import consumption, processes, result
from mlpf_jax.stats import summaries
from mlpf_jax.telemetry import source

_WIDTH = 92
_WEIGHTS = {
    "trained": "",
    "checkpoint": " (weights of the checkpoint)",
    "initial": " (initial weights: nothing was trained)",
}


def show(run: result.RunResult, path: str, stream: TextIOBase) -> None:
    """Prints the scores, their uncertainty, and the path of the report."""
    width, rendered = streams.width(stream, _WIDTH), io.StringIO()
    console = rich.console.Console(
        file=rendered, force_terminal=stream.isatty(), highlight=False, width=width
    )
    table = rich.table.Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    for heading, text in _rows(run):
        table.add_row(heading, text)
    console.print(rich.panel.Panel(table, title="MLPF benchmark", width=width))
    if run.no_score:
        console.print(
            f"[bold yellow]no score:[/] {rich.markup.escape(run.no_score)}", soft_wrap=True
        )
    if run.doubts:
        doubts = rich.markup.escape("; ".join(run.doubts))
        console.print(f"[bold yellow]warning: unreliable measurement:[/] {doubts}", soft_wrap=True)
    # Not by rich: it exits the process when the pipe is closed.
    stream.write(f"{rendered.getvalue()}report: {path}\n")


def interval(score: summaries.Summary) -> str:
    """Returns the 95 % interval of a score, or that there is none."""
    if not score.has_interval:
        return "no 95 % interval"
    return f"95 % interval {score.interval_low:.4g} to {score.interval_high:.4g}"


def _rows(run: result.RunResult) -> list[tuple[str, str]]:
    rows = [("devices", _devices(run))]
    for phase_name, phase in run.phases.items():
        name = run.score_name(phase_name)
        rows.append((name, f"[bold green]{phase.score.median:.4g} events/s[/]"))
        rows.append(("", _certainty(phase.score)))
        rows.append(("", _course(phase)))
        rows.append(("", _work(phase, run)))
        rows.append(("", _compile(phase)))
        rows += [("", text) for text in (_energy(run, phase), _cost(run, phase)) if text]
    if run.epochs:
        times = ", ".join(f"{epoch.seconds:.4g}" for epoch in run.epochs[:6])
        more = ", ..." if len(run.epochs) > 6 else ""
        rows.append(("epochs", f"{times}{more} s; mean {run.mean_epoch_time:.4g} s"))
        rows.append(
            ("mean throughput", f"{run.mean_throughput:.4g} events/s, first epoch excluded")
            if len(run.epochs) > 1
            else ("mean throughput", f"{run.mean_throughput:.4g} events/s, from the only epoch")
        )
        last = run.epochs[-1]
        rows.append(
            (
                "loss",
                f"{last.train.losses['total']:.6g}, validation "
                f"{last.validation.losses['total']:.6g}",
            )
        )
    if run.processes:
        rows.append(("processes", _processes(run)))
    if len(run.segments) > 1:
        rows.append(("segments", _segments(run)))
    rows.append(("accuracy", _accuracy(run)))
    rows.append(("data", _data(run)))
    rows.append(("digests", f"losses {run.loss_sha256[:12]}, weights {run.params_sha256[:12]}"))
    return rows


def _certainty(score: summaries.Summary) -> str:
    worth = (
        f" (correlated, worth {score.effective_count:.3g} independent ones)"
        if score.is_correlated
        else ""
    )
    samples = tables.count(score.count, "sample")
    return f"{interval(score)}, spread {score.spread:.2g}, {samples}{worth}"


def _course(phase: result.PhaseResult) -> str:
    """The conditions during the samples: drift, warm-up and other processes."""
    drift, mean = phase.drift, phase.load
    told = {
        "none": "no drift",
        "drifting": f"drift {100 * drift.change:+.1f} %",
        "too few samples": "too few samples to see a drift",
    }
    left_out = tables.count(phase.num_unsteady, "sample")
    warm_up = f"{left_out} warm-up excluded, " if phase.num_unsteady else ""
    others = f", other processes on {mean.other_cores:.2f} cores" if mean else ""
    return f"{warm_up}{told[drift.verdict]}{others}"


def _devices(run: result.RunResult) -> str:
    first, num_cores = run.devices[0], run.environment["runtime"]["num_cores"]
    if run.is_emulated:
        cores = tables.count(num_cores, "CPU core")
        return f"{len(run.devices)} virtual devices, emulated on {cores}"
    if first.platform == "cpu":
        return f"CPU, {tables.count(num_cores, 'core')}"
    return f"{len(run.devices)} x {rich.markup.escape(first.name)}"


def _work(phase: result.PhaseResult, run: result.RunResult) -> str:
    share = run.share_of_peak(phase.flops_per_s)
    of_peak = f" ({100 * share['share']:.1f} % of peak)" if share else ""
    padding = phase.padding_fraction(run.config)
    return (
        f"{phase.elements_per_s:.4g} real elements/s, padding {100 * padding:.0f} %, "
        f"{phase.flops_per_s / 1e12:.3g} TFLOP/s{of_peak}"
    )


def _compile(phase: result.PhaseResult) -> str:
    compile_s = phase.compile_times.total_s
    told = "not measured" if compile_s is None else f"{compile_s:.1f} s"
    return (
        f"compile {told}, first call {phase.first_call_s:.3g} s, "
        f"memory {phase.memory.total_bytes / 2**30:.2f} GiB per device"
    )


def _energy(run: result.RunResult, phase: result.PhaseResult) -> str | None:
    """Events per joule with their source; None where no counter could be read."""
    found = run.energy(phase)
    if isinstance(found, source.Absent):
        return None
    mark = ", too short for the counter" if found.is_short else ""
    return (
        f"{found.events_per_j.value:.3g} events/J, {found.mean_power_w:.4g} W by {found.source} "
        f"({found.scope}){mark}"
    )


def _cost(run: result.RunResult, phase: result.PhaseResult) -> str | None:
    cost = consumption.cost_of_events(run, phase)
    if cost is None:
        return None
    low, high = cost["per_million_events_low"], cost["per_million_events_high"]
    ends = "" if low is None or high is None else f" ({tables.interval(low, high)})"
    currency = f"{run.price.currency} " if run.price.currency else ""
    return f"{cost['per_million_events']:.4g} {currency}per million events{ends}"


def _processes(run: result.RunResult) -> str:
    hosts = len({one["host"] for one in run.processes})
    told = f"{len(run.processes)} on {tables.count(hosts, 'host')}"
    late = processes.slowest(run.processes, next(iter(run.phases)))
    if late is not None:
        told += f"; slowest: {late[0]}, {100 * (late[1] - 1):.0f} % over the median"
    return rich.markup.escape(told)


def _segments(run: result.RunResult) -> str:
    lost_s = sum(segment.lost_s for segment in run.segments)
    return (
        f"{len(run.segments)}, goodput {100 * (run.goodput or 0.0):.0f} %, {lost_s:.0f} s of work "
        "lost at interruptions"
    )


def _accuracy(run: result.RunResult) -> str:
    if run.inference_quality is not None:
        quality = run.inference_quality
        weights = _WEIGHTS[run.inference_weights]
    else:
        quality, weights = run.epochs[-1].validation, ""
    return f"{quality.accuracy:.4f}, on real elements {quality.real_accuracy:.4f}{weights}"


def _data(run: result.RunResult) -> str:
    sets = [data for data in (run.train_data, run.test_data) if data is not None]
    texts = []
    for data in sets:
        cut = f", {data.num_cut_events} cut" if data.num_cut_events else ""
        texts.append(f"{data.num_events} {data.provenance.get('process')}{cut}")
    told = " + ".join(texts) + f" events ({sets[0].provenance.get('kind')})"
    return rich.markup.escape(told)
