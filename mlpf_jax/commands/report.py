"""Writes a report page of results: one self-contained HTML file.

    mlpf-jax-report RESULTS... -o report.html

RESULTS are result files, studies, and folders of them; the first is the baseline of all ratios. It
needs the extra `report`. See docs/report.md. Exit status: 0 if the page was written, 1 if a file is
damaged, 2 for wrong usage.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mlpf_jax import cli, keeping

_OUT = flags.DEFINE_string("out", "report.html", "Page to write.", short_name="o")
_TITLE = flags.DEFINE_string("title", "MLPF benchmark", "Heading of the page.")


def main(argv: Sequence[str]) -> int:
    out, paths = Path(_OUT.value), [Path(name) for name in argv[1:]]
    if not paths:
        return cli.complain("give results: mlpf-jax-report A.json B.json", cli.USAGE)
    if out.suffix not in (".html", ".htm"):
        return cli.complain(f"--out={out}: the name of the page must end in .html.", cli.USAGE)
    missing = [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        message = f"{missing[0]} is not installed: pip install 'mlpf_jax[report]'"
        return cli.complain(message, cli.USAGE)
    try:
        _write(paths, out)
    except (OSError, ValueError) as error:
        return cli.complain(error, cli.FAILURE)
    print(out)
    return 0


def _write(paths: Sequence[Path], out: Path) -> None:
    inputs = importlib.import_module("mlpf_jax.page.contents")
    render = importlib.import_module("mlpf_jax.page.html")
    found = inputs.read(paths, cli.tell)
    if found.copies_note:
        cli.tell(found.copies_note)
    page = render.page(found, title=_TITLE.value)
    keeping.write_file(out, page.encode())


def run_app() -> None:
    """Runs the program."""
    cli.run(main, takes_files=True)


if __name__ == "__main__":
    run_app()
