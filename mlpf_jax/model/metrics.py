"""Accuracy of the particle classes, from counts that can be summed over events and devices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mlpf_jax.model import pfnet


def count_classes(
    class_logits: Float[Array, "batch elements classes"],
    class_id: Int[Array, "batch elements"],
    mask: Bool[Array, "batch elements"],
) -> Float[Array, "batch true predicted"]:
    """Counts the real elements by true and predicted class.

    The counts are float32 and exact: up to 2^24 elements per event.
    """

    def one_hot(classes):
        return jax.nn.one_hot(classes, pfnet.NUM_CLASSES, dtype=jnp.float32)

    guess = one_hot(jnp.argmax(class_logits, axis=-1))
    truth = jnp.where(mask[..., None], one_hot(class_id), 0)
    return jnp.einsum("bet,bep->btp", truth, guess, precision=jax.lax.Precision.HIGHEST)


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """The reference's metrics for one or more batches.

    Padding has true class 0, and class 0 is always predicted for it. `padded` counts these places
    as correct, as does the reference's `cls_acc_unweighted`, which is the most likely source of the
    published accuracy. `real` excludes padding.
    """

    padded: float
    real: float
    weighted: float  # mean recall of the classes present in a batch, as `cls_acc_weighted`
    recall: tuple[float, ...]  # per class, with padding in class 0; 0 for an absent class


def accuracy(
    counts: Float[np.ndarray, "batches true predicted"], num_places: Float[np.ndarray, " batches"]
) -> Accuracy:
    """Returns the accuracy over `batches` of counts; `num_places` includes the padding."""
    counts = np.asarray(counts, np.float64).copy()
    num_real = counts.sum()
    right_of_real = counts.trace(axis1=1, axis2=2).sum()
    counts[:, 0, 0] += num_places - counts.sum(axis=(1, 2))  # padding, always correct
    right, present = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2)
    recall_per_batch = np.divide(right, present, out=np.zeros_like(right), where=present > 0)
    all_right, all_present = right.sum(axis=0), present.sum(axis=0)
    recall = np.divide(all_right, all_present, out=np.zeros(len(all_right)), where=all_present > 0)
    return Accuracy(
        padded=float(all_right.sum() / all_present.sum()),
        real=float(right_of_real / num_real) if num_real else 1.0,
        weighted=float(recall_per_batch.sum() / (present > 0).sum()),
        recall=tuple(recall.tolist()),
    )
