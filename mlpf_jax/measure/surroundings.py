"""Everything around a run that can change its speed: machine, available share, process."""

import dataclasses

from mlpf_jax.measure import identity as identity_lib
from mlpf_jax.measure import process as process_lib
from mlpf_jax.measure import slot as slot_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The surroundings of a run. Unknown values are None."""

    identity: identity_lib.Identity
    slot: slot_lib.Slot
    process: process_lib.Process


def read() -> Surroundings:
    """Returns the surroundings of this process."""
    given = slot_lib.read()
    return Surroundings(
        identity=identity_lib.read(given.num_cores), slot=given, process=process_lib.read()
    )
