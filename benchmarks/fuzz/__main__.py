"""Fuzzes every reader of files that a stranger may have written.

    python -m benchmarks.fuzz --seconds=60

Needs atheris, which is no dependency of this project (35 MB): pip install atheris. Most readers
read files: TMPDIR=/dev/shm keeps them off the disk, which is faster. Every reader runs in a process
of its own, which must not crash, hang (10 s), take more than 2 GiB, or raise anything but its
documented refusal. An input that makes it do so is kept in --out. The number of branches that the
inputs reached tells how deep they came. Exit status: 0 if nothing was found, 1 if something was, 2
for wrong usage, 130 on Ctrl-C.
"""

import importlib
import importlib.util
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from benchmarks.fuzz import mutating, running, targets
from mlpf_jax import cli

_SECONDS = flags.DEFINE_integer("seconds", 60, "Seconds for each reader.", lower_bound=1)
_READERS = flags.DEFINE_list("readers", list(targets.TARGETS), "Readers to fuzz.")
_OUT = flags.DEFINE_string("out", "fuzz", "Folder for inputs, logs and findings.")
_ONE = flags.DEFINE_string("one", None, "Internal: fuzz this reader in this process.")
_LIMITS = (
    *("-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"),
    f"-max_len={targets.MOST_BYTES}",
)


def main(argv: Sequence[str]) -> int:
    """Fuzzes every reader in a process of its own, or one in this."""
    del argv  # no arguments are left
    if importlib.util.find_spec("atheris") is None:
        return cli.complain("atheris is missing: pip install atheris", cli.USAGE)
    if wrong := [name for name in _READERS.value if name not in targets.TARGETS]:
        known = ", ".join(targets.TARGETS)
        return cli.complain(f"--readers={wrong[0]}: none of {known}.", cli.USAGE)
    if _ONE.value:
        _fuzz(_ONE.value, Path(_OUT.value))
    found = []
    for name in _READERS.value:
        folder = Path(_OUT.value) / name
        folder.mkdir(parents=True, exist_ok=True)
        status = running.run(name, folder, _SECONDS.value)
        inputs, branches = running.counts(folder)
        found_any = "FOUND" if status else "nothing"
        print(f"{name:11} {inputs:>9} inputs  {branches:>5} branches  {found_any}", flush=True)
        found += [name] if status else []
    if found:
        return cli.complain(f"found: {', '.join(found)}, see {_OUT.value}.", cli.FAILURE)
    return 0


def _fuzz(name: str, folder: Path) -> None:
    """Fuzzes a reader in this process, which then ends."""
    import atheris  # pyrefly: ignore

    # Without the libraries that read, no input of theirs looks better than another.
    with atheris.instrument_imports(include=["mlpf_jax", "jsonschema", "numpy.lib"]):
        importlib.import_module("jsonschema.validators")  # which is otherwise imported later
        target = targets.guarded(name)

    def change(content: bytes, most_bytes: int, seed: int) -> bytes:
        return mutating.mutated(content, most_bytes, random.Random(seed), atheris.Mutate)

    limits = [*_LIMITS, f"-max_total_time={_SECONDS.value}", f"-artifact_prefix={folder}/found-"]
    atheris.Setup([sys.argv[0], str(folder / "inputs"), *limits], target, custom_mutator=change)
    atheris.Fuzz()


def run_app() -> None:
    """Runs the program."""
    cli.run(main)


if __name__ == "__main__":
    run_app()
