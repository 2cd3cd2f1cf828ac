"""Verifies on this machine that the network computes the same as the original graph.

    mlpf-jax-verify
    mlpf-jax-verify --golden=FILE.npz --golden=OTHER.npz --x64

Without --golden it uses the small case in the package. Exit status: 0 if all quantities agree, 1 if
not, 2 for wrong usage or a file that is not a golden file.
"""

import io
import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import rich.console
import rich.table
from absl import flags

from mlpf_jax import cli, streams

_GOLDEN = flags.DEFINE_multi_string("golden", None, "Golden file (.npz). Default: the small case.")
_X64 = flags.DEFINE_bool(
    "x64", False, "Compute in float64 and compare with the *_f64.npz next to each file."
)


def main(argv: Sequence[str]) -> int:
    """Verifies every given file."""
    import jax  # imported late, so that --help is fast

    jax.config.update("jax_enable_x64", _X64.value)
    from mlpf_jax.verify import golden, parity

    named = [*(_GOLDEN.value or []), *argv[1:]]
    paths = [Path(name) for name in named] or [golden.SMALL_CASE]
    all_hold = True
    for path in paths:
        try:
            case = golden.load(path)
            verdict = parity.verify(case, float64=_X64.value)
        except ValueError as error:
            return cli.complain(error, cli.USAGE)
        _print(path, case.meta, verdict, jax.devices()[0], "float64" if _X64.value else "float32")
        all_hold &= verdict.holds
    return 0 if all_hold else cli.FAILURE


def _print(path, meta, verdict, device, dtype) -> None:
    rendered = io.StringIO()  # not stdout: rich exits the process when the pipe is closed
    console = rich.console.Console(
        file=rendered,
        width=streams.width(sys.stdout, 110),
        force_terminal=sys.stdout.isatty(),
        highlight=False,
        markup=False,  # brackets belong to the names of files
    )
    table = rich.table.Table(
        title=f"{path.name}: {meta.get('batch', '?')} x {meta['n_pad']} elements, {dtype}, "
        f"on {device.platform} ({device.device_kind})",
        title_justify="left",
    )
    for heading in ("quantity", "compared", "max abs diff", "max rel diff", "tolerance", ""):
        table.add_column(heading, justify="left" if heading in ("quantity", "") else "right")
    for group, members in itertools.groupby(
        sorted(verdict.checks, key=lambda check: check.group), key=lambda check: check.group
    ):
        checks = list(members)
        worst = max(checks, key=_badness)
        table.add_row(
            group,
            str(len(checks)),
            f"{max(check.max_abs for check in checks):.2g}",
            f"{worst.measure:.2g}",
            f"{worst.tolerance:.2g}",
            "holds" if all(check.holds for check in checks) else "FAILS",
        )
    console.print(table)
    for check in verdict.checks:
        if not check.holds:
            console.print(f"FAILS {check.key}: {check.measure:.3g}, allowed {check.tolerance:.3g}")
    for title, keys in (("not in the file", verdict.skipped), ("not compared", verdict.unknown)):
        if keys:
            console.print(f"{title}: {_shortened(keys)}")
    if verdict.missing:
        console.print(f"FAILS: the file has no {', no '.join(verdict.missing)}: nothing is proved.")
    console.print(f"{'all hold' if verdict.holds else 'DOES NOT HOLD'}: {path.name}\n")
    print(rendered.getvalue(), end="")


def _badness(check) -> float:
    if math.isnan(check.measure):
        return float("inf")
    return check.measure / check.tolerance if check.tolerance else check.measure * 1e12


def _shortened(keys: Sequence[str]) -> str:
    """Lists the keys; many of one kind as `kind/* (number)`."""
    kinds = {
        kind: list(k) for kind, k in itertools.groupby(sorted(keys), lambda k: k.split("/")[0])
    }
    return ", ".join(
        f"{kind}/* ({len(members)})" if len(members) > 3 else ", ".join(members)
        for kind, members in kinds.items()
    )


def run_app() -> None:
    """Runs the program."""
    cli.run(main, takes_files=True)


if __name__ == "__main__":
    run_app()
