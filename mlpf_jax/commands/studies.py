"""What the commands of studies do alike."""

from collections.abc import Callable

from mlpf_jax import cli
from mlpf_jax.study import engine, findings


def exit_status(measure: Callable[[], findings.Findings], points: str) -> int:
    """Measures and shows a study; returns the exit status, and says what is wrong.

    `points` names what can fail alone, in the plural.
    """
    try:
        found = measure()
    except engine.StudyError as error:
        return cli.complain(error, cli.USAGE)
    except (OSError, RuntimeError, ValueError) as error:
        return cli.complain(error, cli.FAILURE)
    if found.num_failed:
        return cli.complain(f"{points} that failed: {found.num_failed}, see above.", cli.FAILURE)
    return 0
