"""What the processes of one run do together, before and after the story of each."""

import dataclasses
from collections.abc import Callable

from mlpf_jax import config as config_lib
from mlpf_jax import stopping
from mlpf_jax.hosts import group as group_lib
from mlpf_jax.hosts import launchers, meeting, starting
from mlpf_jax.measure import environment
from mlpf_jax.report import checksums, processes
from mlpf_jax.report import result as result_lib
from mlpf_jax.run import inputs as inputs_lib
from mlpf_jax.run import leaving


def join(
    place: launchers.Placement,
    files: config_lib.FilesConfig,
    arguments: str,
    stop: stopping.Stop,
    timeout_s: float,
) -> group_lib.Group:
    """Waits for the other processes, and compares code, versions and flags.

    Raises:
        ValueError: if one does not come, or differs; the incomplete report is written.
    """
    stop.enter("waiting for the other processes")
    course = leaving.Course(stop, files, arguments, writes=not place.process_id)
    stop.last_words = course.last_words
    here = environment.describe()
    facts = {"code": checksums.code_md5(), "commit": str(here["git_commit"])}
    facts |= {f"version of {name}": text for name, text in here["versions"].items()}
    for word in arguments.split():
        name, _, value = word.partition("=")
        facts[name] = value
    member = meeting.myself(place.process_id, starting.visible_devices())
    try:
        met = meeting.meet(place, member, facts, timeout_s)
    except ValueError as error:
        course.fail(error)
        raise
    group_lib.joined = group_lib.Group(met, place, stop, timeout_s).start()
    return group_lib.joined


def open_in_turn(
    group: group_lib.Group | None, open_all: Callable[[], inputs_lib.Inputs]
) -> inputs_lib.Inputs:
    """Opens the events: on each machine one process first, which simulates what is missing."""
    if group is None:
        return open_all()
    if group.is_first_here:
        opened = open_all()
        group.share()
        return opened
    group.share()
    return open_all()


def gather(group: group_lib.Group, result: result_lib.RunResult) -> result_lib.RunResult:
    """Returns the result of process 0 with what all others tell; compares the weights.

    Raises:
        ValueError: if they differ.
    """
    about = processes.describe(
        result,
        process_id=group.process_id,
        host=group.me.host,
        num_devices=result.config.num_devices // len(group.members),
    )
    found = group.gather(about, processes.difference)
    return dataclasses.replace(result, processes=tuple(found))
