"""A comparison from the request to the outcome, and the recording of a baseline."""

import contextlib
import dataclasses
import functools
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlpf_jax import errors, processes
from mlpf_jax.measure import records
from mlpf_jax.regress import (
    baseline,
    checkouts,
    costs,
    documents,
    installations,
    judging,
    pairing,
    sources,
)
from mlpf_jax.render import tables
from mlpf_jax.report import copies, facts, reader
from mlpf_jax.stats import sequential, turns

# A machine changes more between days than between runs, and today's runs cannot show by how much. A
# difference from a baseline must exceed this allowance.
BASELINE_ALLOWANCE = 0.02
_ONE_DEVICE = "--num_devices=1"  # unless the preset says otherwise: by itself a run takes all


class NothingToCompareError(Exception):
    """Both sides are the same, and a comparison of a side with itself was not requested."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to compare, and how. At most one of `base`, `baseline_name` and `files` is given."""

    base: str | None = None  # commit; None: the start of the branch
    head: str | None = None  # commit; None: the working tree
    base_python: Path | None = None  # None: one with the commit's own lock
    head_python: Path | None = None
    baseline_name: str | None = None  # name of a baseline, or its file
    files: tuple[Path, Path] | None = None  # result files of A and B, or folders with them
    preset: Path
    baseline_folder: Path = baseline.DEFAULT_FOLDER
    threshold: float = 0.05
    allowance: float | None = None  # None: 0, except for baselines
    accuracy_loss: float = 0.005
    inject: float | None = None  # None: no work is injected
    resolve: bool = False  # compare B with itself until the end of the budget
    budget_s: float = 585.0
    max_pairs: int = 20
    rounds: int = 32
    run_timeout_s: float = 300.0

    def __post_init__(self):
        if sum(way is not None for way in (self.base, self.baseline_name, self.files)) > 1:
            raise ValueError("give A only once: with --base, --baseline or files.")
        if self.files is not None and (self.head is not None or self.inject is not None):
            raise ValueError("with files, --head and --inject cannot be used.")
        if self.baseline_name is not None and self.inject is not None:
            raise ValueError("with --baseline, --inject cannot be used: it slows windows in turns.")
        if self.resolve and not self.is_of_b_alone:
            raise ValueError("--resolve compares B with itself: give no A and no --inject.")
        for name in ("max_pairs", "rounds", "budget_s", "run_timeout_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name}={getattr(self, name)}: must be positive.")
        if self.inject is not None and not 0 <= self.inject <= 10:
            raise ValueError(f"--inject={self.inject}: must be a share of extra work from 0 to 10.")
        if self.accuracy_loss < 0:
            raise ValueError(f"--accuracy_loss={self.accuracy_loss}: must not be negative.")
        _ = self.limits
        if self.files is None:
            _ = self.settings

    @property
    def is_of_b_alone(self) -> bool:
        """Whether no A is named and nothing is to be found between A and B."""
        return all(one is None for one in (self.base, self.baseline_name, self.files, self.inject))

    @property
    def limits(self) -> sequential.Limits:
        """The definition of a regression."""
        default = 0.0 if self.baseline_name is None else BASELINE_ALLOWANCE
        allowance = default if self.allowance is None else self.allowance
        return sequential.Limits(threshold=self.threshold, allowance=allowance)

    @functools.cached_property  # the file may change later
    def settings(self) -> tuple[str, ...]:
        """The preset's flags, given individually because the base may not have the file."""
        try:
            lines = self.preset.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is no text"
            way_out = "name a file, or run this in the top folder of a checkout"
            raise ValueError(f"--preset={self.preset}: {reason}; {way_out}.") from None
        return tuple(line for line in map(str.strip, lines) if line and not line.startswith("#"))


class _Judge:
    """Judges the pairs so far; facts about the machine are known after the first pair."""

    def __init__(self, request: Request, known: list[baseline.Baseline], *sides: sources.Source):
        self.rules = judging.Rules(limits=request.limits, accuracy_loss=request.accuracy_loss)
        self.notes: list[str] = []
        self.judgements: tuple[judging.Judgement, ...] = ()
        self._blocked: dict[str, str] = {}
        self._request, self._known, self._sides = request, known, sides

    def __call__(self, pairs: Sequence[pairing.Pair]) -> bool:
        if not self.judgements:
            self._look_at_machine(pairs)
        self.judgements = judging.judge(pairs, self.rules, self._blocked)
        return not self._request.resolve and judging.is_enough(self.judgements)

    def _look_at_machine(self, pairs: Sequence[pairing.Pair]) -> None:
        first_a, first_b = (side.first for side in self._sides)
        fresh = [side for side in self._sides if isinstance(side, sources.Processes)]
        stored = [side.spans for side in self._sides if isinstance(side, sources.Stored)]
        self._blocked, findings = judging.blocked_measures(
            first_a, first_b, in_one_session=not stored
        )
        self.notes += [f"From A to B: {facts.explain(first_a, first_b)}.", *findings]
        if not fresh and (reason := turns.why_no_pairs(*stored)):
            self._blocked |= dict.fromkeys(judging.TIMES, reason)
            self.notes.append(f"Not judged by time: {reason}.")
        same_compiler = judging.have_same_compiler(first_a, first_b)
        self.rules = dataclasses.replace(self.rules, same_compiler=same_compiler)
        has_same_programs = same_compiler and judging.have_same_programs(pairs, self.rules.limits)
        if has_same_programs and not stored and all(side.caches for side in fresh):
            # On both sides or on neither: cached steps run differently from compiled ones.
            for side in fresh:
                side.measures_compile = False
            self.notes.append(
                "XLA compiled the same programs on both sides in the first "
                f"{tables.count(len(pairs), 'pair')}; later runs took the steps from a cache."
            )
        if fresh:
            self._take_noise(first_b)

    def _take_noise(self, report: reader.Report) -> None:
        """Takes the noise that was recorded on this machine, and of no other of its name."""
        found = baseline.newest(self._known, report, self._request.settings)
        if found is not None:
            self.rules = dataclasses.replace(self.rules, recorded_noise=found.noises)
            listed = ", ".join(f"{name} {100 * s:.1f} %" for name, s in found.noises.items())
            self.notes.append(f"Noise of whole runs here, by baseline {found.name}: {listed}.")
            if report.identity_key is None:
                self.notes.append("That machine is known by its name alone: it may be another.")


def compare(request: Request, tell: pairing.Tell) -> documents.Outcome:
    """Runs both sides alternately until everything is decided or the budget is used up.

    Raises:
        NothingToCompareError: if both sides are the same.
        ValueError: if something requested does not exist, or a file of baselines is none.
        RunFailedError: if a run fails.
    """
    end_s = time.monotonic() + request.budget_s
    started_at = records.now()
    # Before any run: a file that is no baseline must not end the comparison in the middle.
    known = [] if request.files else baseline.read_all(request.baseline_folder)
    with _sides(request, tell) as (a, b):
        judge = _Judge(request, known, a, b)
        budget = pairing.Budget(end_s, request.max_pairs, request.rounds)
        with _failing_as_a_run():
            gathered = pairing.gather(a, b, judge, budget, coins=random.Random(), tell=tell)
        return documents.Outcome(
            a=a,
            b=b,
            gathered=gathered,
            judgements=judge.judgements,
            rules=judge.rules,
            notes=tuple(judge.notes),
            inject=request.inject or 0.0,
            started_at=started_at,
        )


def record(request: Request, name: str, tell: pairing.Tell, *, force: bool) -> Path:
    """Runs B repeatedly, stores the runs as a baseline, and returns the file.

    Raises:
        ValueError: if anything is requested besides B, or the name cannot be one, or is taken and
            `force` does not say to replace it.
        RunFailedError: if a run fails.
    """
    baseline.check_name(name)
    if request.resolve or not request.is_of_b_alone:
        raise ValueError("--save_baseline records B: give no A, no --inject and no --resolve.")
    end_s = time.monotonic() + request.budget_s
    num_runs = 2 * request.max_pairs
    with _live(request, "B", tell) as (source,), _failing_as_a_run():
        runs: list[costs.RunMeasures] = []
        longest_s = 0.0
        while not runs or (len(runs) < num_runs and time.monotonic() + longest_s < end_s):
            started = time.monotonic()
            # Every other block compiles, so the noise of both kinds of runs is recorded.
            source.measures_compile = len(runs) // pairing.RUNS_PER_BLOCK % 2 == 0
            runs.append(source.take())
            longest_s = max(longest_s, time.monotonic() - started)
            if len(runs) == 1:
                machine = runs[0].machine_class
                baseline.free_path(request.baseline_folder, machine, name, force=force)
            tell(f"run {len(runs)} of {num_runs}: {runs[-1]}")
        made = baseline.make(name, request.settings, source.first, runs)
    return baseline.write(made, request.baseline_folder, force=force)


@contextlib.contextmanager
def _failing_as_a_run() -> Iterator[None]:
    """Makes system errors of the runs' files, as on a full disk, failures and no wrong usage."""
    try:
        yield
    except OSError as error:
        raise processes.RunFailedError(errors.one_line(error)) from error


@contextlib.contextmanager
def _sides(request: Request, tell: pairing.Tell) -> Iterator[tuple[sources.Source, sources.Source]]:
    if request.files is not None:
        seen = copies.Seen()
        a, b = (sources.of_files(path, seen, tell) for path in request.files)
        if seen.note:
            tell(seen.note)
        yield a, b
    elif request.baseline_name is not None:
        a = _stored(request)
        with _live(request, "B", tell) as (b,):
            yield a, b
    else:
        with _live(request, "BA", tell) as (b, a):
            yield a, b


@contextlib.contextmanager
def _live(request: Request, sides: str, tell: pairing.Tell) -> Iterator[list[sources.Processes]]:
    """Prepares the sides, whose files are removed after the block. All use caches, or none."""
    with (
        tempfile.TemporaryDirectory(prefix="mlpf-jax-regress-") as temporary,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(temporary)
        wanted = "B" if request.resolve else sides
        laid_out = {side: _checkout(request, side, folder, stack, tell) for side in wanted}
        if len(wanted) > 1:
            _check_differ(request, laid_out["A"], laid_out["B"])
        caches = all(sources.can_be_side(checkout.folder) for checkout in laid_out.values())
        yield [
            sources.Processes(
                _program(request, side, laid_out.get(side) or laid_out["B"], folder),
                folder / f"runs-{side}",
                request.run_timeout_s,
                caches=caches,
            )
            for side in sides
        ]


def _checkout(
    request: Request, side: str, folder: Path, stack: contextlib.ExitStack, tell: pairing.Tell
) -> checkouts.Checkout:
    """Checks out the side's commit."""
    top = checkouts.top_folder(Path.cwd())
    is_base = side == "A"
    revision = (request.base or checkouts.default_base(top)) if is_base else request.head
    if revision is None:
        checkout = checkouts.working_tree(top)
    else:
        checkout = stack.enter_context(checkouts.worktree(top, revision, folder / f"files-{side}"))
    tell(f"{side}: {checkout.label}")
    if request.inject is not None and not sources.can_be_side(checkout.folder):
        raise ValueError(
            f"{checkout.label} has no mlpf_jax.{sources.SIDE}, which --inject needs: omit "
            f"--inject, or name a commit that has it, {'--base' if is_base else '--head'}=."
        )
    return checkout


def _check_differ(request: Request, a: checkouts.Checkout, b: checkouts.Checkout) -> None:
    """Refuses two sides without a difference in anything measured.

    Naming the same commit for both sides, or injecting a slowdown, is allowed as a test of the
    gate.
    """
    is_tried_out = request.inject is not None or (request.base and a.commit == b.commit)
    if is_tried_out or request.base_python != request.head_python:
        return
    measured = [sources.PACKAGE]
    if request.base_python is None:
        measured.append(installations.current().lock)
    if a.digest(measured) == b.digest(measured):
        raise NothingToCompareError(
            f"{' and '.join(measured)} are the same in A ({a.label}) and B ({b.label})."
        )


def _program(
    request: Request, side: str, checkout: checkouts.Checkout, folder: Path
) -> sources.Program:
    """Finds or creates the side's environment."""
    is_base = side == "A" and not request.resolve
    python = (request.base_python if is_base else request.head_python) or installations.python_of(
        checkout, folder / f"environment-{side}.txt", installations.current()
    )
    share = 0.0 if is_base else request.inject or 0.0
    arguments = (_ONE_DEVICE, *request.settings)
    return sources.Program(checkout.label, checkout.folder, python, arguments, share)


def _stored(request: Request) -> sources.Stored:
    """Finds the baseline of this machine, for which a report of the machine is needed."""
    name = str(request.baseline_name)
    given = Path(name)
    files = [given] if given.is_file() else list(request.baseline_folder.glob(f"*/{name}.json"))
    found = [baseline.read(path) for path in files]
    alike = [one for one in found if one.preset == request.settings]
    if len(alike) != 1:
        raise ValueError(
            f"--baseline={name}: {len(alike)} of this name and with the settings of "
            f"{request.preset} in {request.baseline_folder}; name one file, or record one with "
            "--save_baseline=."
        )
    label = f"baseline {alike[0].name} of {alike[0].created_at[:10]}"
    return sources.Stored(label, alike[0].first, alike[0].runs)
