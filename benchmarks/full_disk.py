"""Lets the disk of a run become full, or its quota run out, at every write in turn.

    python -m benchmarks.full_disk --fault=full

The writes are those that the run makes of events, checkpoints and reports: every file that it opens
for writing, every folder that it makes and every renaming, as Python's audit events tell. For each
of them, a fork of a small run (`benchmarks.kills.forking`) gets there, and then the disk, a tmpfs,
is filled to the last byte (full; needs root), or the call fails (quota), and so do all that follow.
The run must say so in one line for each thing that it could not write, without a traceback, or end
well, and a report that it leaves must have the digests of an undisturbed run. Exit status: 0 if so,
1 if not, 2 for wrong usage.
"""

import collections
import contextlib
import dataclasses
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.kills import forking
from mlpf_jax import cli, processes
from mlpf_jax.report import hepscore, incomplete

_FAULT = flags.DEFINE_enum("fault", "full", ["full", "quota"], "What goes wrong.")
_EVERY = flags.DEFINE_integer("every", 1, "Take each n-th write only.", lower_bound=1)
_SIZE = "200m"  # of the disk: more than a run needs
_TIMEOUT_S = 120.0  # a run takes three
_RUN = (
    *("--preset=smoke", "--num_id_layers=1", "--num_energy_layers=1", "--num_train_events=16"),
    *("--num_test_events=8", "--num_epochs=1", "--num_infer_samples=1", "--checkpoint_every=3"),
    *("--platform=cpu", "--nomeasure_compile"),
)
_FILLER = "filler"
_HANGS = -99  # instead of a status
_DIGESTS = ("loss_sha256", "params_sha256", "batch_sha256")


@dataclasses.dataclass
class Disk:
    """Counts writes to a folder within a run, and fails from one of them on."""

    folder: str
    fails_at: int | None  # None: never
    fault: str
    tell: Callable[[dict], None]
    num_writes: int = 0
    is_busy: bool = False

    def hear(self, event: str, words: tuple) -> None:
        """Is called for every audit event."""
        path = _written(event, words)
        if path is None or self.is_busy or not path.startswith(self.folder):
            return
        self.num_writes += 1
        if self.fails_at is None:
            self.tell({("write", str(self.num_writes)): f"{event} {path[len(self.folder) + 1 :]}"})
        elif self.num_writes >= self.fails_at and self.fault == "quota":
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), path)
        elif self.num_writes == self.fails_at:
            self.is_busy = True
            fill(self.folder)
            self.is_busy = False


def _written(event: str, words: tuple) -> str | None:
    """Returns the path that an audit event writes to."""
    if event == "open":
        path, _, how = words
        writes = isinstance(how, int) and how & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return os.fspath(path) if writes and isinstance(path, str | os.PathLike) else None
    if event == "os.mkdir":
        return str(words[0])
    return str(words[1]) if event == "os.rename" else None


def fill(folder: str) -> None:
    """Fills a disk to the last block."""
    space = os.statvfs(folder)
    with open(os.path.join(folder, _FILLER), "wb") as file:
        if free := space.f_bavail * space.f_frsize:
            os.posix_fallocate(file.fileno(), 0, free)


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a run ended."""

    write: str  # that failed first
    status: int
    line: str
    left: tuple[str, ...]
    problem: str | None


class Bench:
    """Runs with their files on one disk."""

    def __init__(self, disk: Path, beside: Path):
        self.disk, self.beside = disk, beside
        self.nursery = forking.Nursery(1)
        self.expected: Mapping[str, str] = {}

    def arguments(self, *, simulates: bool) -> list[str]:
        """Returns the flags of a run."""
        events = self.disk if simulates else self.beside
        return [
            *(*_RUN, f"--compilation_cache={self.beside / 'cache'}"),
            *(f"--data_dir={events / 'events'}", f"--checkpoint_dir={self.disk / 'checkpoints'}"),
            f"--results_dir={self.disk / 'results'}",
        ]

    def undisturbed(self, *, simulates: bool) -> list[str]:
        """Runs to the end; returns all writes. The first such run fills the memory."""
        running = self._start(None, None if self.nursery.memory else "all", simulates)
        status = running.wait(_TIMEOUT_S)
        if status:
            lines = processes.last_lines(self.beside / "log")
            raise processes.RunFailedError(f"ended with status {status}", lines)
        found = running.memory
        writes = [str(text) for key, text in found.items() if key[0] == "write"]
        if not self.nursery.memory:
            self.nursery.memory = {key: v for key, v in found.items() if key[0] != "write"}
        self.expected = _digests(self.disk / "results" / hepscore.FILE_NAME)
        return writes

    def fail(self, number: int, name: str, *, simulates: bool) -> Ending:
        """Runs with the fault at the given write."""
        try:
            status = self._start(number, None, simulates).wait(_TIMEOUT_S)
        except processes.RunFailedError:
            status = _HANGS
        with contextlib.suppress(FileNotFoundError):
            (self.disk / _FILLER).unlink()
        said = (self.beside / "log").read_text(errors="replace")
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        left = sorted(self._left())
        return Ending(name, status, " | ".join(lines), tuple(left), self._problem(status, said))

    def _start(self, fails_at: int | None, learns: str | None, simulates: bool) -> forking.Running:
        for path in self.disk.iterdir():
            shutil.rmtree(path)

        def prepare(tell: Callable[[Any], None]) -> None:
            tempfile.tempdir = str(self.beside)
            disk = Disk(str(self.disk), fails_at, _FAULT.value, tell)
            sys.addaudithook(disk.hear)

        return self.nursery.start(
            self.arguments(simulates=simulates),
            self.beside / "log",
            forget_from=None if learns else "reporting",
            prepare=prepare,
        )

    def _left(self) -> Iterator[str]:
        for path in self.disk.rglob("*"):
            if (
                path.is_file()
                and path.name != ".lock"
                and not path.is_relative_to(self.disk / "checkpoints")
            ):
                yield path.relative_to(self.disk).as_posix()
        for path in self.disk.glob("checkpoints/[0-9]*/sha256.json"):
            yield path.parent.relative_to(self.disk).as_posix()

    def _problem(self, status: int, said: str) -> str | None:
        """Returns what the run did wrong."""
        if status == _HANGS:
            return f"it did not end within {_TIMEOUT_S:g} s"
        if unfinished := list(self.disk.rglob(".tmp-*")):
            return f"an unfinished file, {unfinished[0].name}"
        reports = [*self.disk.rglob(hepscore.FILE_NAME), *self.beside.glob("mlpf-jax-*/*.json")]
        try:
            if any(_digests(path) != self.expected for path in reports):
                return "a report with other digests"
            for path in self.disk.rglob(incomplete.FILE_NAME):
                json.loads(path.read_text())
        except (ValueError, KeyError) as error:
            return f"a report that cannot be read: {error}"
        finally:
            for path in self.beside.glob("mlpf-jax-*"):
                shutil.rmtree(path, ignore_errors=True)
        if "Traceback" in said or status not in (0, 1, 2):
            return f"status {status}, or a traceback"
        if (status > 0) != ("error: " in said):
            return "no line, or one without failing"
        return None if status or reports else "no report"


def _digests(path: Path) -> dict[str, str]:
    stats = json.loads(path.read_text())["report"]["wl-stats"]
    return {name: stats[name] for name in _DIGESTS}


def main(argv: Sequence[str]) -> int:
    """Lets every write fail, and prints how the runs end."""
    del argv  # no arguments are left
    with contextlib.ExitStack() as stack:
        beside = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlpf-jax-beside-")))
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlpf-jax-disk-")))
        if _FAULT.value == "full":
            mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(disk)]
            if subprocess.run(mount, check=False).returncode:
                return cli.complain("--fault=full: needs the right to mount a tmpfs.", cli.USAGE)
            stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        bench = Bench(disk, beside)
        endings = list(_endings(bench))
    for text in _table(endings):
        print(text)
    problems = [one for one in endings if one.problem]
    print(f"{len(endings)} writes: {len(problems)} with a problem")
    for one in problems:
        cli.complain(f"{one.write}: {one.problem}: {one.line}", cli.FAILURE)
    return cli.FAILURE if problems else 0


def _endings(bench: Bench) -> Iterator[Ending]:
    """Lets the writes of the events fail, and then those of a run that finds its events."""
    bench.undisturbed(simulates=False)  # simulates, too, but not onto the disk
    for simulates in (True, False):
        writes = bench.undisturbed(simulates=simulates)
        for number, name in list(enumerate(writes, 1))[:: _EVERY.value]:
            if name.split()[1].startswith("events") == simulates:
                ending = bench.fail(number, name, simulates=simulates)
                print(f"{number}/{len(writes)} {name}: {ending}", file=sys.stderr, flush=True)
                yield ending


def _table(endings: Sequence[Ending]) -> Iterator[str]:
    """Groups equal endings: without numbers, a line says the same."""
    groups: dict[tuple, int] = collections.Counter(
        (
            one.write.split()[1].split("/")[0],
            one.status,
            re.sub(r"/[^ :]*|\d+", "*", one.line),
            ", ".join(re.sub(r"\d+", "*", name) for name in one.left),
        )
        for one in endings
    )
    for (folder, status, line, left), number in groups.items():
        yield f"{number:4} writes to {folder}: status {status}; {line or 'no line'}; left: {left}"


if __name__ == "__main__":
    cli.run(main)
