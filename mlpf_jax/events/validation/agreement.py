"""Compares quantities measured in a set of events with those published for its process."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from mlpf_jax.events.validation import observables, plausibility, published, survey, verdicts

_HALF_A_DIGIT = 0.005  # half of the last digit, for values published with two digits
_MIN_IN_BIN = 400  # particles needed to use a bin of an efficiency
_MIN_PUBLISHED_IN_BIN = 500  # particles needed to use a bin of a spectrum
_MIN_CONFUSION = 0.002  # smaller shares get no row
_RARE = ("electron", "muon")
_ACTIVITY, _BANK, _MATCHING, _OUTLIERS = 1, 2, 3, 4  # of verdicts.KNOWN_DIFFERENCES


def judge(measured: survey.Measurement) -> list[verdicts.Row]:
    """Returns all quantities of a set with the published ones for its process, if any.

    Known differences apply to simulated events only.
    """
    reference = published.of_process(measured.process)
    rows = [
        *_elements(measured, reference),
        *_particles(measured, reference),
        *_shares(measured, reference),
        *_spectra(measured, reference),
        *_fluctuations(measured, reference),
        *_responses(measured, reference),
        *_efficiencies(measured, reference),
        *_confusion(measured, reference),
        *_jets(measured),
        *_implausible(measured),
    ]
    if measured.provenance["kind"] == "simulated":
        return rows
    return [dataclasses.replace(row, known=0) for row in rows]


def _mean(group: str, quantity: str, values: np.ndarray) -> verdicts.Row:
    """The mean of one number per event."""
    return verdicts.Row(
        group=group, quantity=quantity, measured=float(values.mean()), error=_error(values)
    )


def _error(values: np.ndarray) -> float:
    return float(values.std() / len(values) ** 0.5)


def _beside(
    row: verdicts.Row, values: np.ndarray, mean: float | None, num_events: int | None
) -> verdicts.Row:
    """Adds a published mean over events, with the error from our scatter between events."""
    if mean is None or num_events is None:
        return row
    error = float(values.std()) / num_events**0.5
    return dataclasses.replace(row, published=mean, published_error=error)


def _elements(
    measured: survey.Measurement, reference: published.Published
) -> Iterator[verdicts.Row]:
    group, numbers = "elements per event", measured.numbers
    values = numbers["elements"]
    row = _beside(
        _mean(group, "elements", values),
        values,
        reference.num_elements,
        reference.num_elements_events,
    )
    yield dataclasses.replace(row, known=_ACTIVITY)
    yield _mean(group, "towers", numbers["towers"])
    for name in ("tracks", "ECAL towers", "HCAL towers"):
        one = reference.one_event.get(name)
        label = name if one is None else f"{name} (published: of one event)"
        yield _beside(_mean(group, label, numbers[name]), numbers[name], one, 1)


def _particles(
    measured: survey.Measurement, reference: published.Published
) -> Iterator[verdicts.Row]:
    group, numbers = "particles per event", measured.numbers
    for name in observables.PARTICLES:
        is_rare = name in _RARE
        values = numbers[f"targets {name}"]
        mean = reference.mean_targets(name)
        row = _beside(_mean(group, f"targets {name}", values), values, mean, reference.num_events)
        band, known = (
            (verdicts.Band.RARE, _BANK) if is_rare else (verdicts.Band.MULTIPLICITY, _ACTIVITY)
        )
        yield dataclasses.replace(row, band=band, known=known)
    for name in observables.PARTICLES:
        quantity = f"targets {name} above 2.5 GeV"
        values, mean = numbers[quantity], reference.mean_targets(name, first_bin=1)
        row = _beside(_mean(group, quantity, values), values, mean, reference.num_events)
        yield dataclasses.replace(row, band=verdicts.Band.RARE, known=_BANK)
    yield _elements_without_target(measured, reference)
    for name in observables.CLASSES:
        values, points = numbers[f"candidates {name}"], reference.multiplicities.get(name)
        mean, num_events = (None, None) if points is None else (points[:, 1].mean(), len(points))
        row = _beside(_mean(group, f"candidates {name}", values), values, mean, num_events)
        yield dataclasses.replace(row, known=_ACTIVITY)


def _elements_without_target(
    measured: survey.Measurement, reference: published.Published
) -> verdicts.Row:
    """The published value is the difference of two means over different sets of events."""
    values, scatter = measured.numbers["targets none"], measured.numbers["elements"].std()
    row = _mean("particles per event", "targets none", values)
    none = reference.mean_without_target
    if none is None:
        return row
    errors = [scatter / n**0.5 for n in (reference.num_elements_events, reference.num_events) if n]
    return dataclasses.replace(row, published=none, published_error=float(np.hypot(*errors)))


def _shares(measured: survey.Measurement, reference: published.Published) -> Iterator[verdicts.Row]:
    """The share of each class among all elements."""
    elements = measured.numbers["elements"]
    for name in observables.CLASSES:
        counts = measured.numbers[f"targets {name}"]
        share = float(counts.sum() / max(elements.sum(), 1))
        yield verdicts.Row(
            group="shares of the elements",
            quantity=f"targets {name}",
            measured=share,
            error=_error(counts - share * elements) / max(float(elements.mean()), 1),
            published=reference.share(name),
            band=verdicts.Band.RATE,
        )


def _spectra(
    measured: survey.Measurement, reference: published.Published
) -> Iterator[verdicts.Row]:
    """Root mean square of (measured / published - 1) over bins, weighted by their content."""
    for (name, variable), mean in reference.spectra.items():
        spectrum = measured.observables.spectra[f"targets {name} {variable}"]
        used = mean * reference.num_events > _MIN_PUBLISHED_IN_BIN
        weight, ratio = mean[used] / mean[used].sum(), spectrum.per_event[used] / mean[used]
        errors = spectrum.per_event_errors[used] / mean[used]
        published_errors = 1 / np.sqrt(mean[used] * reference.num_events)
        is_rare = name in _RARE
        yield verdicts.Row(
            group="spectra: r.m.s. of measured / published - 1",
            quantity=f"targets {name} {variable}, {used.sum()} bins",
            measured=float(np.sqrt((weight * (ratio - 1) ** 2).sum())),
            error=float(np.sqrt((weight * errors**2).sum())),
            published=0.0,
            published_error=float(np.sqrt((weight * published_errors**2).sum())),
            scale=1.0,
            band=verdicts.Band.RARE if is_rare else verdicts.Band.MULTIPLICITY,
            known=_BANK if is_rare else _ACTIVITY,
        )


def _fluctuations(
    measured: survey.Measurement, reference: published.Published
) -> Iterator[verdicts.Row]:
    """The scatter of particle counts, and of candidates relative to targets, between events."""
    group = "from event to event"
    for name in ("charged_hadron", "neutral_hadron"):
        targets, candidates = (measured.numbers[f"{s} {name}"] for s in ("targets", "candidates"))
        points = reference.multiplicities.get(name)
        of_published = None if points is None else points[:, 0]
        yield _deviation(group, f"deviation of targets {name}", targets, of_published)
        excess = candidates / np.maximum(targets, 1) - 1
        of_published = None if points is None else points[:, 1] / points[:, 0] - 1
        label = f"candidates / targets - 1, {name}"
        row = _mean(group, label, excess)
        if of_published is not None:
            row = dataclasses.replace(
                row, published=float(of_published.mean()), published_error=_error(of_published)
            )
        yield dataclasses.replace(row, band=verdicts.Band.RATE)
        row = _deviation(group, f"deviation of {label}", excess, of_published)
        yield dataclasses.replace(row, band=verdicts.Band.RATE)


def _deviation(
    group: str, quantity: str, values: np.ndarray, of: np.ndarray | None
) -> verdicts.Row:
    """The standard deviation of one number per event, with the error for a Gaussian."""

    def error(numbers: np.ndarray) -> float:
        return float(numbers.std() / (2 * len(numbers)) ** 0.5)

    row = verdicts.Row(
        group=group, quantity=quantity, measured=float(values.std()), error=error(values)
    )
    if of is None:
        return row
    return dataclasses.replace(row, published=float(of.std()), published_error=error(of))


def _responses(
    measured: survey.Measurement, reference: published.Published
) -> Iterator[verdicts.Row]:
    group = "response: candidate / target - 1"
    for key, response in measured.observables.responses.items():
        pair = reference.responses.get(key, (None, None))
        quantity = " ".join(key)
        known = _OUTLIERS if key[0] == "neutral_hadron" else 0
        for label, value, error, of_published in (
            ("mean", response.mean, response.mean_error, pair[0]),
            ("deviation", response.deviation, response.deviation_error, pair[1]),
        ):
            yield verdicts.Row(
                group=group,
                quantity=f"{quantity}, {label}",
                measured=value,
                error=error,
                published=of_published,
                rounding=_HALF_A_DIGIT,
                band=verdicts.Band.RATE,
                known=known,
            )


def _efficiencies(
    measured: survey.Measurement, reference: published.Published
) -> Iterator[verdicts.Row]:
    """Means over the bins with enough particles, which are the same on both sides."""
    seen = measured.observables
    for label, curves, of_published in (
        ("efficiency", seen.efficiencies, reference.efficiencies),
        ("fake rate", seen.fake_rates, reference.fake_rates),
    ):
        for (name, variable), curve in curves.items():
            values = of_published.get((name, variable))
            used = curve.all > _MIN_IN_BIN
            if values is not None:
                used &= values > 0
            if not used.any():
                continue
            is_rare = name in _RARE
            yield verdicts.Row(
                group="efficiencies and fake rates: means of bins",
                quantity=f"{label} {name} by {variable}, {used.sum()} bins",
                measured=float(curve.values[used].mean()),
                error=float(np.sqrt((curve.errors[used] ** 2).sum()) / used.sum()),
                published=None if values is None else float(values[used].mean()),
                band=verdicts.Band.RARE if is_rare else verdicts.Band.RATE,
                known=_BANK if is_rare or name == "charged_hadron" else _MATCHING,
            )


def _confusion(
    measured: survey.Measurement, reference: published.Published
) -> Iterator[verdicts.Row]:
    """The classes of candidates for the targets of each class."""
    counts = measured.observables.confusion
    for target, candidate in np.ndindex(counts.shape):
        num = counts[target].sum()
        if not num:
            continue
        share = float(counts[target, candidate] / num)
        value = None if reference.confusion is None else reference.confusion[target, candidate]
        if max(share, value or 0.0) < _MIN_CONFUSION:
            continue
        names = observables.CLASSES[target], observables.CLASSES[candidate]
        is_rare = names[0] in _RARE
        yield verdicts.Row(
            group="confusion: candidates of each target",
            quantity=f"{names[0]} -> {names[1]}",
            measured=share,
            error=observables.share_error(float(counts[target, candidate]), float(num)),
            published=None if value is None else float(value),
            rounding=_HALF_A_DIGIT,
            band=verdicts.Band.RARE if is_rare else verdicts.Band.RATE,
            known=_BANK if is_rare else _MATCHING,
        )


def _jets(measured: survey.Measurement) -> Iterator[verdicts.Row]:
    group, numbers = "jets and missing energy", measured.numbers
    for name, unit in (
        ("missing pT", "GeV"),
        ("hard jets", "above 50 GeV"),
        ("leading jet pT", "GeV"),
    ):
        for side in ("targets", "candidates"):
            if f"{side} {name}" in numbers:
                yield _mean(group, f"{side} {name}, {unit}", numbers[f"{side} {name}"])
    if measured.jet_response is not None:
        response = measured.jet_response
        for label, value, error in (
            ("mean", response.mean, response.mean_error),
            ("deviation", response.deviation, response.deviation_error),
        ):
            quantity = f"jet pT, candidate / target - 1, {label}"
            yield verdicts.Row(group=group, quantity=quantity, measured=value, error=error)


def _implausible(measured: survey.Measurement) -> Iterator[verdicts.Row]:
    """Counts of implausible rows, which should all be 0."""
    for what in plausibility.KINDS:
        num_rows = float(measured.numbers[what].sum())
        group = "implausible rows (expected: none)"
        yield verdicts.Row(group=group, quantity=what, measured=num_rows, error=0.0, published=0.0)
