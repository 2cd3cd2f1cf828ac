"""The readers to fuzz: each gets bytes, and may refuse them with certain errors only."""

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

Target = Callable[[bytes], object]
ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
_MOST_BYTES = 2**20  # that a reader may allocate, where it takes a limit


def _with_file(read: Callable[[Path], object], name: str = "input") -> Target:
    """Returns a target that reads a file."""
    folder = Path(tempfile.mkdtemp(prefix="mlpf-jax-fuzz-"))

    def target(content: bytes) -> None:
        (folder / name).write_bytes(content)
        read(folder / name)

    return target


def _report() -> Target:
    from mlpf_jax.report import reader

    return _with_file(reader.read)


def _baseline() -> Target:
    from mlpf_jax.regress import baseline

    return _with_file(baseline.read)


def _manifest() -> Target:
    from mlpf_jax.events import manifest

    return _with_file(lambda path: manifest.read_manifest(path.parent), manifest.NAME)


def _pickle() -> Target:
    from mlpf_jax.events import pickles

    return lambda content: pickles.load(io.BytesIO(content), max_bytes=_MOST_BYTES)


def _tfrecord() -> Target:
    from mlpf_jax.events import tfrecord

    def target(content: bytes) -> None:
        for record in tfrecord.read_records(io.BytesIO(content), max_bytes=_MOST_BYTES):
            tfrecord.parse_example(record, ("X", "ygen"))

    return target


def _golden() -> Target:
    from mlpf_jax.verify import golden

    return _with_file(golden.load, "input.npz")


def _bank() -> Target:
    from mlpf_jax.simulation import bank

    return _with_file(bank.load_bank, "input.npz")


def _seal() -> Target:
    from mlpf_jax.training import checkpoint

    return _with_file(lambda path: checkpoint.verify(path.parent), "sha256.json")


def _flags() -> Target:
    from absl import flags

    from mlpf_jax import arguments, options

    def read(path: Path) -> None:
        values = options.define()
        try:
            values(["program", *arguments.read_file(path)])
        except flags.Error as error:
            raise ValueError(error) from None
        options.read(values).check()

    return _with_file(read)


TARGETS: Mapping[str, Callable[[], Target]] = {
    "report": _report,
    "baseline": _baseline,
    "manifest": _manifest,
    "pickle": _pickle,
    "tfrecord": _tfrecord,
    "golden": _golden,
    "bank": _bank,
    "seal": _seal,
    "flags": _flags,
}
_REFUSALS: Mapping[str, tuple[type[Exception], ...]] = {"flags": (ValueError, OSError)}


def guarded(name: str) -> Target:
    """Returns a target that accepts the errors by which its reader refuses an input."""
    target, refusals = TARGETS[name](), _REFUSALS.get(name, (ValueError,))

    def run(content: bytes) -> None:
        with contextlib.suppress(*refusals):
            target(content)

    return run


def seeds(name: str) -> Iterator[Path]:
    """Yields valid inputs to begin with: the kept ones, and files of the repository."""
    yield from sorted((CORPUS / name).glob("*"))
    patterns = {
        "report": "benchmarks/results/*reproducibility*.json",
        "baseline": "benchmarks/baselines/**/*.json",
        "golden": "mlpf_jax/**/small_A.npz",
        "flags": "flags/*.cfg",
    }
    if name in patterns:
        yield from sorted(ROOT.glob(patterns[name]), key=lambda path: path.stat().st_size)[:2]
