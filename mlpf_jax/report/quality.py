"""Whether the network learnt what it should: the window of accuracies of a known training.

The window is a prediction interval from trainings with other weights, so it is wider than what
rounding on another machine changes: a right run lies outside at most as often as said. While there
are few such trainings, their spread halfway, where it is larger, counts as much as at the end.
"""

import dataclasses
import math
import statistics
from typing import Any

import scipy.stats

from mlpf_jax import config as config_lib
from mlpf_jax.report import reader

FALSE_ALARM_RATE = 0.01  # of a right run whose weights are drawn anew
NUMERICS = ("precision", "pair_kernel")  # of the model, without a meaning for what it learns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """A training, and the last validation accuracies that it reached with several seeds."""

    num_updates: int
    batch: int  # on all devices together
    learning_rate: float
    train_sha256: str  # of the events
    test_sha256: str
    accuracies: tuple[float, ...]
    halfway: tuple[float, ...]  # of the same trainings, after half of the updates

    @property
    def window(self) -> tuple[float, float]:
        """The lower and upper limit for the accuracy of one more run."""
        number = len(self.accuracies)
        variances = [statistics.variance(values) for values in (self.accuracies, self.halfway)]
        student = float(scipy.stats.t.ppf(1 - FALSE_ALARM_RATE / 2, 2 * (number - 1)))
        width = student * math.sqrt((1 + 1 / number) * statistics.fmean(variances))
        mean = statistics.fmean(self.accuracies)
        return mean - width, min(1.0, mean + width)


# The preset site on one device: docs/workload.md has the runs.
KNOWN = (
    Training(
        num_updates=40,
        batch=5,
        learning_rate=1e-4,
        train_sha256="572430dccd4b61e25f5790c9aea1128b9ed66451aed40134eebf938e53ea2963",
        test_sha256="c1625e338679b6b743e69b2af642021778581bce3d4a76462682c6368585f8bb",
        accuracies=(0.9425125, 0.94514375),  # seeds 1234 and 1
        halfway=(0.927259375, 0.919278125),
    ),
)


def check(report: reader.Report) -> dict[str, Any]:
    """Returns accuracy, window and verdict of a run; null and the reason without a window."""
    accuracies = report.stats.get("val_accuracy")
    if not accuracies:
        return {"pass": None, "reason": "nothing was trained"}
    found = {"val_accuracy": accuracies[-1]}
    known = next((one for one in KNOWN if _is(one, report)), None)
    if known is None:
        return {**found, "pass": None, "reason": "no window is known for this training"}
    lower, upper = known.window
    return {
        **found,
        "lower": lower,
        "upper": upper,
        "false_alarm_rate": FALSE_ALARM_RATE,
        "pass": lower <= accuracies[-1] <= upper,
    }


def _is(known: Training, report: reader.Report) -> bool:
    """Whether the run is this training; the seed and the numerics may be others."""
    model = {k: v for k, v in report.config["model"].items() if k not in NUMERICS}
    published = dataclasses.asdict(config_lib.ModelConfig())
    data = (report.train_data or {}).get("sha256"), report.test_data["sha256"]
    return (
        sum(report.steps_by_epoch or ()) == known.num_updates
        and report.batch_size_total == known.batch
        and report.config["train"]["learning_rate"] == known.learning_rate
        and not report.config["data"]["shuffle"]
        and report.config["data"]["num_elements"] == config_lib.DataConfig().num_elements
        and data == (known.train_sha256, known.test_sha256)
        and model == {k: v for k, v in published.items() if k not in NUMERICS}
    )
