"""Shows the progress of a run: bars on a terminal, plain lines elsewhere, or nothing."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from io import TextIOBase
from typing import IO, TYPE_CHECKING, Any, cast

from mlpf_jax import streams

if TYPE_CHECKING:
    import rich.progress

_LINE_INTERVAL_S = 10.0
News = Callable[[str], None]
_NARROW = 80  # columns; below, a bar would hide the numbers


class Stage:
    """One stage of work with a known length."""

    def __init__(self, name: str, total: int, news: "News"):
        self._name = name
        self._total = total
        self._news = news

    def update(self, done: int, note: str = "", *, total: int | None = None) -> None:
        """Updates the progress, with a short note; `total` corrects the length."""
        self._news(self._name)


class Progress:
    """Creates stages. Writes to stderr, because results go to stdout.

    `news` is called with what is being done, also if nothing is shown.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        stream: TextIOBase | None = None,
        bars: bool = True,
        news: News = lambda message: None,
    ):
        self._news = news
        self._quiet = quiet
        self._bars = bars
        self._stream = cast(IO[str], stream or sys.stderr)
        self._started = time.monotonic()

    def say(self, message: str) -> None:
        """Prints one line, which names what is done from now on."""
        self._news(message)
        self.tell(message)

    def tell(self, message: str) -> None:
        """Prints one line about what is being done."""
        if not self._quiet:
            with contextlib.suppress(OSError):  # nobody reads: no reason to end the work
                line = streams.line(message)
                print(f"[{self._elapsed()}] {line}", file=self._stream, flush=True)

    @contextlib.contextmanager
    def stage(self, name: str, total: int) -> Iterator[Stage]:
        """Shows a stage within the context."""
        self._news(name)
        if self._quiet:
            yield Stage(name, total, self._news)
        elif self._bars and self._stream.isatty():
            with _bars(self._stream) as bars:
                yield _BarStage(name, total, self._news, bars)
        else:
            yield _LineStage(name, total, self._news, self.tell)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes:02d}:{seconds:02d}"


class _Terminal:
    """A terminal that may go away, with a connection or a window: no reason to end the work."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def _bars(stream: Any) -> "rich.progress.Progress":
    import rich.console
    import rich.progress  # here: --help and plain lines need not wait for it

    console = rich.console.Console(file=cast(IO[str], _Terminal(stream)))
    name = rich.progress.TextColumn("{task.description}", markup=False)
    note = rich.progress.TextColumn("{task.fields[note]}", markup=False)
    number, left = rich.progress.MofNCompleteColumn(), rich.progress.TimeRemainingColumn()
    if console.width < _NARROW:
        return rich.progress.Progress(name, number, left, console=console)
    return rich.progress.Progress(
        name,
        rich.progress.BarColumn(bar_width=30),
        number,
        note,
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("ETA"),
        left,
        console=console,
    )


class _BarStage(Stage):
    def __init__(self, name: str, total: int, news: News, bars: "rich.progress.Progress"):
        super().__init__(name, total, news)
        self._bars = bars
        self._task = bars.add_task(name, total=total, note="")

    def update(self, done: int, note: str = "", *, total: int | None = None) -> None:
        super().update(done)
        self._bars.update(self._task, completed=done, note=note, total=total)


class _LineStage(Stage):
    """Prints a line at the end, and every ten seconds before."""

    def __init__(self, name: str, total: int, news: News, tell: Callable[[str], None]):
        super().__init__(name, total, news)
        self._tell = tell
        self._started = self._last = time.monotonic()

    def update(self, done: int, note: str = "", *, total: int | None = None) -> None:
        super().update(done)
        self._total = self._total if total is None else total
        now = time.monotonic()
        if done < self._total and now - self._last < _LINE_INTERVAL_S:
            return
        self._last = now
        remaining = (now - self._started) / done * (self._total - done) if done else 0.0
        eta = f", ETA {remaining:.0f} s" if remaining else ""
        self._tell(f"{self._name}: {done}/{self._total}{', ' + note if note else ''}{eta}")
