"""Detects copies of a run: copies, reformatted or not, do not count as repetitions."""

from collections.abc import Hashable, Iterable

from mlpf_jax.report import reader


class Seen:
    """The runs that were read so far, and the files that are copies of one of them."""

    def __init__(self):
        self._sources: dict[Hashable, str] = {}
        self._copies: list[tuple[str, str]] = []

    def new(self, reports: Iterable[reader.Report]) -> list[reader.Report]:
        """Returns the runs that were not read before, in order."""
        found = []
        for report in reports:
            run = _measured(report)
            if run in self._sources:
                self._copies.append((report.source, self._sources[run]))
            else:
                self._sources[run] = report.source
                found.append(report)
        return found

    @property
    def note(self) -> str | None:
        """Returns a one-line note about skipped copies; None if there were none."""
        if not self._copies:
            return None
        (copy, first), more = self._copies[0], len(self._copies) - 1
        others = f"; copies skipped: {1 + more}" if more else ""
        return f"{copy} is the same run as {first}, and counts once{others}."


def _measured(report: reader.Report) -> Hashable:
    """All times of a run, which identify it: no two runs take the same nanoseconds."""
    return (
        report.stats["started_at"],
        *(
            (
                name,
                tuple(sample.seconds for sample in phase.samples),
                phase.compile_times,
                phase.first_call_s,
            )
            for name, phase in sorted(report.phases.items())
        ),
    )
