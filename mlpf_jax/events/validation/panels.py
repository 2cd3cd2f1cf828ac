"""The panels of a validation page. Each shows one quantity for one or two sets of events."""

import dataclasses

import numpy as np
from matplotlib import axes, ticker

from mlpf_jax.events.validation import observables, published, survey

# The colour-blind-safe palette of Okabe and Ito.
BLUE, ORANGE, GREEN, RED, PINK, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#999999",
)
_COLOURS = dict(zip(observables.PARTICLES, (BLUE, ORANGE, GREEN, RED, PINK), strict=True))
_SHORT_NAMES = ["none", "charged\nhadron", "neutral\nhadron", "photon", "electron", "muon"]
_MAX_SHOWN_PT = 50.0
_LABELS = {"pt": "pT [GeV]", "eta": r"$\eta$", "energy": "energy [GeV]"}
_HADRONS_AND_PHOTONS = observables.PARTICLES[:3]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sets:
    """The data to draw: a set, the published numbers of its process, and possibly a second set."""

    measured: survey.Measurement
    other: survey.Measurement | None
    published: published.Published

    @property
    def with_styles(self) -> list[tuple[survey.Measurement, str]]:
        """The sets with their line styles."""
        sets = [(self.measured, "-")]
        return sets if self.other is None else [*sets, (self.other, "--")]


def draw_numbers(panel: axes.Axes, sets: Sets, *, title: str, names: dict[str, str]) -> None:
    """Draws the distribution of one number per event."""
    values = [m.numbers[name] for m, _ in sets.with_styles for name in names]
    edges = np.histogram_bin_edges(np.concatenate(values), bins=40)
    for measured, style in sets.with_styles:
        for name, colour in names.items():
            counts = np.histogram(measured.numbers[name], edges)[0] / measured.num_events
            what = name.removesuffix(" missing pT")
            label = f"{what}: {measured.numbers[name].mean():.1f}"
            panel.stairs(counts, edges, color=colour, linestyle=style, label=_once(label, style))
    panel.set_ylim(0, 1.3 * panel.get_ylim()[1])
    mean = sets.published.num_elements
    if "elements" in names and mean is not None:
        panel.axvline(mean, color="black", linestyle=":", label=f"published: {mean:.1f}")
    _finish(panel, title, "", "share of events")


def draw_multiplicity(panel: axes.Axes, sets: Sets, *, name: str) -> None:
    """Draws the number of targets and candidates of a class per event."""
    points = sets.published.multiplicities.get(name)
    edges = np.linspace(1500, 3800, 24) if name == "charged_hadron" else np.linspace(700, 1150, 24)
    for column, (side, colour) in enumerate({"targets": BLUE, "candidates": RED}.items()):
        for measured, style in sets.with_styles:
            counts = np.histogram(measured.numbers[f"{side} {name}"], edges)[0]
            share = counts / measured.num_events
            panel.stairs(share, edges, color=colour, linestyle=style, label=_once(side, style))
        if points is not None:
            counts = np.histogram(points[:, column], edges)[0]
            share, error = counts / len(points), np.sqrt(counts) / len(points)
            _draw_points(panel, edges, share, error, colour)
    _finish(panel, f"{_words(name)}s per event", "", "share of events")


def draw_shares(panel: axes.Axes, sets: Sets) -> None:
    """Draws the shares of target classes among the elements."""
    place = np.arange(len(observables.CLASSES))
    num_elements = sets.measured.numbers["elements"].sum()
    shares = [
        sets.measured.numbers[f"targets {name}"].sum() / num_elements
        for name in observables.CLASSES
    ]
    colours = [GREY, *_COLOURS.values()]
    panel.barh(place, shares, color=colours, alpha=0.6)
    expected = [sets.published.share(name) for name in observables.CLASSES]
    if None not in expected:
        panel.plot(np.array(expected, np.float64), place, "k.", label="published")
    panel.set_yticks(place, _SHORT_NAMES)
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.set_xlim(2e-4, 1)
    _finish(panel, "shares of the classes", "share of the elements", "")


def draw_inputs(panel: axes.Axes, sets: Sets, *, variable: str) -> None:
    """Draws the spectra of tracks and towers."""
    for measured, style in sets.with_styles:
        for name, colour in (("tracks", BLUE), ("towers", ORANGE)):
            spectrum = measured.observables.spectra[f"{name} {variable}"]
            _draw_spectrum(panel, spectrum, colour, style, name)
    title = {"pt": "pT of tracks, ET of towers", "eta": r"$\eta$ of the elements"}
    _finish_spectrum(panel, title.get(variable, "energy of the elements"), variable)


def draw_spectra(panel: axes.Axes, sets: Sets, *, side: str, variable: str) -> None:
    """Draws the spectra of targets or candidates by class."""
    for name, colour in _COLOURS.items():
        for measured, style in sets.with_styles:
            spectrum = measured.observables.spectra[f"{side} {name} {variable}"]
            _draw_spectrum(panel, spectrum, colour, style, _words(name))
        mean = sets.published.spectra.get((name, variable))
        if side == "targets" and mean is not None:
            errors = np.sqrt(mean / (sets.published.num_events or 1))
            _draw_points(panel, observables.EDGES[variable], mean, errors, colour)
    _finish_spectrum(panel, f"{side}: {_LABELS[variable].partition(' [')[0]}", variable)
    if variable != "pt" and panel.legend_:  # the legend of the first panel of the row applies
        panel.legend_.remove()


def _draw_spectrum(
    panel: axes.Axes, spectrum: observables.Spectrum, colour: str, style: str, label: str
) -> None:
    panel.stairs(
        spectrum.per_event,
        spectrum.edges,
        color=colour,
        linestyle=style,
        label=_once(label, style),
    )


def draw_ratio(panel: axes.Axes, sets: Sets, *, variable: str) -> None:
    """Draws the ratio of measured to published target spectra, for bins with enough entries."""
    panel.axhspan(0.98, 1.02, color="black", alpha=0.08, linewidth=0)
    panel.axhline(1, color="black", linewidth=0.6)
    for name in _HADRONS_AND_PHOTONS:
        mean = sets.published.spectra.get((name, variable))
        if mean is None:
            continue
        used = mean * (sets.published.num_events or 0) > 5000
        for measured, style in sets.with_styles:
            spectrum = measured.observables.spectra[f"targets {name} {variable}"]
            centres = (0.5 * (spectrum.edges[1:] + spectrum.edges[:-1]))[used]
            ratio, error = spectrum.per_event[used], spectrum.per_event_errors[used]
            panel.errorbar(
                centres,
                ratio / mean[used],
                error / mean[used],
                color=_COLOURS[name],
                linestyle=style,
                marker=".",
                label=_once(_words(name), style),
            )
    panel.set_ylim(0.8, 1.2)
    _finish(panel, "targets: measured / published", _LABELS[variable], "")


def draw_responses(
    panel: axes.Axes, sets: Sets, *, title: str, keys: list[tuple[str, str]]
) -> None:
    """Draws the distributions of candidate / target - 1."""
    for measured, style in sets.with_styles:
        for key in keys:
            response = measured.observables.responses[key]
            label = f"{_words(key[0])}: {response.mean:.3f}, {response.deviation:.3f}"
            if key in sets.published.responses:
                label += "\n  published: {:.2f}, {:.2f}".format(*sets.published.responses[key])
            share = response.counts / max(response.counts.sum(), 1)
            edges = observables.RESPONSE_EDGES
            colour = _COLOURS[key[0]]
            panel.stairs(share, edges, color=colour, linestyle=style, label=_once(label, style))
    panel.set_yscale("log")
    panel.set_ylim(1e-5, 500)
    _finish(panel, title, "candidate / target - 1   (mean, deviation)", "share")


def draw_confusion(panel: axes.Axes, sets: Sets) -> None:
    """Draws the shares of candidate classes for each target class, with published ones below."""
    counts = sets.measured.observables.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(shares.shape):
        text = f"{shares[row, column]:.3f}".replace("0.000", "") or ""
        if sets.published.confusion is not None and (text or sets.published.confusion[row, column]):
            text = f"{text}\n({sets.published.confusion[row, column]:.2f})"
        colour = "white" if shares[row, column] > 0.6 else "black"
        panel.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
    panel.set_xticks(range(len(_SHORT_NAMES)), _SHORT_NAMES, fontsize=6.5)
    panel.set_yticks(range(len(_SHORT_NAMES)), _SHORT_NAMES, fontsize=6.5)
    panel.spines[:].set_visible(False)
    panel.set_title("confusion" if sets.published.confusion is None else "confusion (published)")
    panel.set_xlabel("candidate")
    panel.set_ylabel("target")


def draw_efficiency(panel: axes.Axes, sets: Sets, *, key: tuple[str, str]) -> None:
    """Draws the efficiency and fake rate of a class against a variable of the targets."""
    for attribute, name, colour in (
        ("efficiencies", "efficiency", BLUE),
        ("fake_rates", "fake rate", RED),
    ):
        values = getattr(sets.published, attribute).get(key)
        for measured, style in sets.with_styles:
            curve = getattr(measured.observables, attribute)[key]
            shown = np.where(curve.all > 0, curve.values, np.nan)
            label = _once(name, style)
            panel.stairs(
                shown, curve.edges, baseline=None, color=colour, linestyle=style, label=label
            )
            if values is not None:
                _draw_points(panel, curve.edges, values, None, colour)
    panel.set_ylim(-0.03, 1.05)
    _finish(panel, f"{_words(key[0])}s", _LABELS[key[1]], "")


def draw_jets(panel: axes.Axes, sets: Sets) -> None:
    """Draws the pT spectra of the jets of targets and candidates."""
    if sets.measured.jet_response is None:
        panel.text(
            0.5, 0.5, "FastJet is not installed: no jets", ha="center", transform=panel.transAxes
        )
        panel.set_axis_off()
        return
    for measured, style in sets.with_styles:
        for side, colour in (("targets", BLUE), ("candidates", RED)):
            spectrum = measured.observables.spectra.get(f"{side} jets pt")
            if spectrum is not None:
                _draw_spectrum(panel, spectrum, colour, style, side)
    panel.set_xscale("log")
    panel.xaxis.set_minor_formatter(ticker.NullFormatter())
    panel.set_yscale("log")
    _finish(panel, r"jets, anti-$k_T$ 0.4, pile-up included", _LABELS["pt"], "per event and bin")


def _draw_points(
    panel: axes.Axes, edges: np.ndarray, values: np.ndarray, errors: np.ndarray | None, colour: str
) -> None:
    """Draws the published values as points."""
    centres = 0.5 * (edges[1:] + edges[:-1])
    shown = values > 0
    errors = None if errors is None else errors[shown]
    panel.errorbar(
        centres[shown], values[shown], errors, fmt=".", color=colour, markersize=4, linewidth=0.7
    )


def _finish_spectrum(panel: axes.Axes, title: str, variable: str) -> None:
    if variable == "energy":
        panel.set_xscale("log")
    if variable == "pt":
        panel.set_xlim(-1, _MAX_SHOWN_PT)
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    panel.set_ylim(max(low, 1e-4), high * 3)
    _finish(panel, title, _LABELS[variable], "per event and bin")


def _finish(panel: axes.Axes, title: str, x_label: str, y_label: str) -> None:
    panel.set_title(title)
    panel.set_xlabel(x_label)
    panel.set_ylabel(y_label)
    if panel.get_legend_handles_labels()[1]:
        panel.legend()


def _once(label: str, style: str) -> str | None:
    """Labels only the first set in a legend."""
    return label if style == "-" else None


def _words(name: str) -> str:
    return name.replace("_", " ")
