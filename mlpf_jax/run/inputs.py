"""Opens the events of a run, simulates missing ones, and checks them."""

import dataclasses

import numpy as np

from mlpf_jax import config as config_lib
from mlpf_jax import progress as progress_lib
from mlpf_jax.events import ragged, source, store
from mlpf_jax.report import result
from mlpf_jax.run import files as files_lib
from mlpf_jax.simulation import bank as bank_lib

# Digests of the first events of the presets, simulated with seed 1 from the bank in the package.
# They have the same bytes on every machine, unless something is wrong with the machine.
_STANDARD_SEED = 1
STANDARD_SHA256: dict[tuple[str, int], str] = {
    ("ttbar", 80): "8f1e6558d4764f74d9435e395c8c2cd13afc95bd61e76a6977b05f12bfbff620",
    ("ttbar", 1100): "0fdd155cef47903454de26b86bb1895afc95198582ee671bd88179b25f2641d3",
    ("ttbar", 2000): "aafbb5c1a11dd6476fbff23a05e57a9c18ed886d19281680d4365b1280005c2a",
    ("qcd", 8): "4db8cf42bcb60b4994c74bbf4064a1cff07c33c10e2867ad0b1c88fb0ae005b0",
    ("qcd", 100): "85753a88599f91d628d22366a3a3747d68a3b52d03def882502048c53dea3733",
    ("qcd", 200): "cad755c1c68f3b675dfa542a4dbb42d5712d71b9509782f85c3a2e41bd9d1351",
}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Events on disk, and the description of the used ones for the result."""

    events: ragged.SizedEvents
    description: result.DatasetResult


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The events of a run: ttbar to train on, QCD to validate and infer on, as in the reference.

    `train` is None without training.
    """

    train: Dataset | None
    test: Dataset


def open_inputs(
    config: config_lib.RunConfig,
    files: config_lib.FilesConfig,
    progress: progress_lib.Progress,
) -> Inputs:
    """Opens both sets of events, simulating missing events.

    Raises:
        ValueError: if events are missing, damaged, or not the expected ones.
        OSError: if they cannot be read or written.
    """

    def open_set(process: str, num_events: int) -> Dataset:
        with progress.stage(f"simulating {process}", num_events) as stage:
            events = source.open_events(
                process,
                num_events,
                data_dir=files_lib.data_dir(files),
                data_seed=config.data.data_seed,
                bank=files.bank,
                on_progress=lambda done, wanted: stage.update(done, total=wanted),
            )
        if files.verify_data:
            events.verify()
        description = describe(events, num_events, config.data.num_elements)
        _check_standard(description)
        progress.tell(
            f"{process}: {num_events} events, {description.num_elements} elements, "
            f"SHA-256 {description.sha256[:16]}"
        )
        return Dataset(events, description)

    train = config.mode != "infer"
    return Inputs(
        train=open_set("ttbar", config.data.num_train_events) if train else None,
        test=open_set("qcd", config.data.num_test_events),
    )


def describe(events: store.EventStore, num_events: int, padded: int) -> result.DatasetResult:
    """Returns counts and digest of the first events, and how many are truncated to `padded`."""
    lengths = np.asarray(events.event_lengths[:num_events])
    return result.DatasetResult(
        provenance=dict(events.provenance),
        num_events=num_events,
        num_elements=int(lengths.sum()),
        num_cut_events=int(np.count_nonzero(lengths > padded)),
        num_cut_elements=int(np.maximum(lengths - padded, 0).sum()),
        sha256=events.digest(num_events),
    )


def _check_standard(description: result.DatasetResult) -> None:
    origin = description.provenance
    is_standard = (
        origin.get("kind") == "simulated"
        and origin.get("seed") == _STANDARD_SEED
        and origin.get("bank_sha256") == bank_lib.SHIPPED_SHA256
    )
    expected = STANDARD_SHA256.get((str(origin.get("process")), description.num_events))
    if is_standard and expected is not None and expected != description.sha256:
        raise ValueError(
            f"the {description.num_events} {origin['process']} events are not the standard ones "
            f"(SHA-256 {description.sha256[:16]}, not {expected[:16]}): remove their folder from "
            "--data_dir; if that does not help, this machine computes differently."
        )
