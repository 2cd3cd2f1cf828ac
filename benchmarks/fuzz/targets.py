"""The readers to fuzz: each gets bytes, and may refuse them with certain errors only."""

import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

Target = Callable[[bytes], object]
ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
MOST_BYTES = 2**17  # of an input; every seed is smaller
_MOST_BYTES_READ = 2**20  # that a reader may allocate, where it takes a limit


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


def _shard() -> Target:
    import numpy as np

    from mlpf_jax.events import manifest, store

    folder = Path(tempfile.mkdtemp(prefix="mlpf-jax-fuzz-"))
    shard = manifest.Shard(
        name="shard-0",
        num_events=1,
        num_elements=1,
        sha256={f"{name}.npy": "0" * 64 for name in manifest.ARRAYS},
    )
    provenance = {"kind": "simulated", "process": "qcd"}
    content = manifest.encode_manifest(manifest.Manifest(provenance=provenance, shards=(shard,)))
    (folder / shard.name).mkdir()
    (folder / manifest.NAME).write_bytes(content)
    np.save(folder / shard.name / "offsets.npy", np.array([0, 1]))
    for name, width in store.NUM_FEATURES.items():
        np.save(folder / shard.name / f"{name}.npy", np.zeros((1, width), np.float32))

    def target(content: bytes) -> None:
        (folder / shard.name / "elements.npy").write_bytes(content)
        store.open_store(folder).event(0)

    return target


def _pickle() -> Target:
    from mlpf_jax.events import pickles

    return lambda content: pickles.load(io.BytesIO(content), max_bytes=_MOST_BYTES_READ)


def _delphes() -> Target:
    from mlpf_jax.events import delphes

    name = "tev14_pythia8_qcd_0_0.pkl"
    return _with_file(lambda path: delphes.read_events(path, max_bytes=_MOST_BYTES_READ), name)


def _tfrecord() -> Target:
    from mlpf_jax.events import tfrecord

    def target(content: bytes) -> None:
        for record in tfrecord.read_records(io.BytesIO(content), max_bytes=_MOST_BYTES_READ):
            tfrecord.parse_example(record, ("X", "ygen"))

    return target


def _example() -> Target:
    from mlpf_jax.events import tfrecord

    return lambda content: tfrecord.parse_example(content, ("X", "ygen"))


def _golden() -> Target:
    from mlpf_jax.verify import golden

    return _with_file(golden.load, "input.npz")


def _bank() -> Target:
    from mlpf_jax.simulation import bank

    return _with_file(bank.load_bank, "input.npz")


def _seal() -> Target:
    from mlpf_jax.training import checkpoint

    folder = Path(tempfile.mkdtemp(prefix="mlpf-jax-fuzz-"))
    (folder / "record").write_bytes(b"x")

    def target(content: bytes) -> None:
        (folder / "sha256.json").write_bytes(content)
        checkpoint.verify(folder)

    return target


def _track() -> Target:
    from mlpf_jax.run import track

    return lambda content: track.Track.from_json(json.loads(content))


def _study() -> Target:
    from mlpf_jax.study import documents

    return _with_file(documents.read)


def _environment() -> Target:
    from mlpf_jax.measure import variables, xla_flags

    def target(content: bytes) -> None:
        lines = content.decode(errors="replace").splitlines()
        environ = {name: value for name, _, value in (line.partition("=") for line in lines)}
        variables.refusal(environ)
        variables.pin(environ)
        shown = variables.recorded(environ)
        variables.doubts(shown)
        assert not any("/" in value for value in shown.values())  # a path is told to nobody
        flags = environ.get("XLA_FLAGS", "")
        if flags.startswith("-"):  # other values name a file
            joined = xla_flags.join(xla_flags.read(flags), {})
            xla_flags.doubts(xla_flags.shown(joined))

    return target


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
    "shard": _shard,
    "pickle": _pickle,
    "delphes": _delphes,
    "tfrecord": _tfrecord,
    "example": _example,
    "golden": _golden,
    "bank": _bank,
    "seal": _seal,
    "track": _track,
    "study": _study,
    "environment": _environment,
    "flags": _flags,
}
_REFUSALS: Mapping[str, tuple[type[Exception], ...]] = {
    "flags": (ValueError, OSError),
    # As `resuming` and Orbax's JSON refuse it.
    "track": (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError),
}


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
        "report": "tests/data/reports/*.json",
        "baseline": "tests/data/baseline.json",
        "study": "tests/data/scaling.json",
        "flags": "flags/*.cfg",
    }
    if name in patterns:
        yield from sorted(ROOT.glob(patterns[name]), key=lambda path: path.stat().st_size)[:4]
