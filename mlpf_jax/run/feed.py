"""Feeds batches to the devices during computation: a thread loads and transfers ahead."""

import dataclasses
import hashlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged
from mlpf_jax.measure import records

_DIGESTED_EVERY = 64  # rows: enough to recognise every event, and it takes no time


class Batch(NamedTuple):
    """A batch on the host, and the numbers of its events."""

    arrays: ragged.AnyBatch  # of the devices of this process
    indices: Int[np.ndarray, " taken"]  # on all devices
    num_elements: int | None = None  # on all devices; None: as in the arrays


@dataclasses.dataclass(frozen=True)
class FedBatch:
    """A batch on the devices, with its number of real events and elements."""

    on_device: Any
    num_events: int
    num_elements: int
    num_rows: int  # rows per device, including padding
    indices: Int[np.ndarray, " taken"]  # numbers of its events
    digests: tuple[str, ...]  # of each device: the start of that of some of its rows


class Feed:
    """Iterates over batches on the devices, at most `depth` ahead. Use it as a context manager."""

    def __init__(
        self,
        batches: Iterable[Batch],
        put: Callable[[ragged.AnyBatch], Any],
        depth: int,
    ):
        self.times = records.InputTimes()
        self._batches = iter(batches)
        self._put = put
        self._ready: queue.Queue[FedBatch | BaseException | None] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="feed", daemon=True)

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        while self._thread.is_alive():  # it may be waiting for space in the queue
            try:
                self._ready.get(timeout=0.1)
            except queue.Empty:
                continue
        self._thread.join()

    def __iter__(self) -> Iterator[FedBatch]:
        while (batch := self._next()) is not None:
            yield batch

    def take(self, number: int) -> list[FedBatch]:
        """Returns the next `number` batches, or fewer at the end."""
        return list(itertools.islice(self, number))

    def _next(self) -> FedBatch | None:
        start = time.perf_counter()
        batch = self._ready.get()
        self.times.wait_s += time.perf_counter() - start
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def _work(self) -> None:
        try:
            while not self._stop.is_set() and (batch := self._load()) is not None:
                self._ready.put(self._transfer(batch))
            self._ready.put(None)
        except BaseException as error:  # noqa: BLE001  (raised again where it is waited for)
            self._ready.put(error)

    def _load(self) -> Batch | None:
        start = time.perf_counter()
        batch = next(self._batches, None)
        self.times.load_s += time.perf_counter() - start
        return batch

    def _transfer(self, loaded: Batch) -> FedBatch:
        batch = loaded.arrays
        start = time.perf_counter()
        on_device = jax.block_until_ready(self._put(batch))
        self.times.transfer_s += time.perf_counter() - start
        rows = np.asarray(batch.elements)[..., ::_DIGESTED_EVERY, :]  # the first axis: devices
        num_events, num_elements = len(loaded.indices), loaded.num_elements
        if num_elements is None:
            num_events = int(np.count_nonzero(batch.weight))
            num_elements = int(np.count_nonzero(batch.elements[..., 0]))
        return FedBatch(
            on_device,
            num_events=num_events,
            num_elements=num_elements,
            num_rows=batch_lib.rows_per_device(batch),
            indices=loaded.indices,
            digests=tuple(hashlib.sha256(part.tobytes()).hexdigest()[:16] for part in rows),
        )
