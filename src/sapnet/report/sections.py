"""The parts of a run's report that are figures: headline, tables, curves, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sapnet.report.figures import bar_chart, line_chart
from sapnet.report.markup import NOTHING, Markup, percent, section, table, tag
from sapnet.report.run_contents import RunContents, number

PICK_NAMES = {
    "selected": "Labels of this run",
    "top_score": "Highest proposer score (SAM-top1)",
    "largest_alone": "Largest that covers no other click of its class",
    "oracle": "Best proposal (oracle)",
}
_SHORT_NAMES = {
    "selected": "this run",
    "top_score": "top score",
    "largest_alone": "largest alone",
    "oracle": "oracle",
}
_SIZES = ("all", "small", "medium", "large")
_AP_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def headline_section(run: RunContents) -> Markup:
    """Return the figures that matter most, as cards and bars."""
    cards = [*_label_cards(run), *_validation_cards(run)]
    if not cards:
        cards = [tag("p", "No ground truth was given, so there are no figures of quality.", class_="note")]
    parts: list[object] = [tag("div", *cards, class_="cards")]
    if run.simulated:
        words = (
            "All figures rest on simulated proposals, drawn from the ground truth masks. They say how well "
            "the selection works, not how good labels would be with a real proposer."
        )
        parts.insert(0, tag("p", words, class_="warning"))
    figures = run.label_figures or {}
    picks = [name for name in PICK_NAMES if name in figures]
    if len(picks) > 1:
        values = [(name, figures[name]["mask_miou"]["all"]) for name in picks]
        bars = [(_SHORT_NAMES[name], value, f"{percent(value)} %") for name, value in values]
        parts.append(bar_chart(f"Mask mIoU of the labels, {run.proposal_words}", bars))
    return section("headline", "Headline", *parts)


def _card(name: str, figure: str, detail: str) -> Markup:
    return tag(
        "div",
        tag("div", name, class_="name"),
        tag("div", figure, class_="value"),
        tag("div", detail, class_="detail"),
        class_="card",
    )


def _label_cards(run: RunContents) -> list[Markup]:
    figures = run.label_figures
    if not figures or "selected" not in figures:
        return []
    against = [
        f"{_SHORT_NAMES[name]} {percent(figures[name]['mask_miou']['all'])}"
        for name in ("top_score", "oracle")
        if name in figures
    ]
    detail = "; ".join([*against, run.proposal_words])
    cards = [_card("Labels: mask mIoU", f"{percent(figures['selected']['mask_miou']['all'])} %", detail)]
    if figures.get("share_closed") is not None:
        closed = f"of the distance from the top score to the best proposal; {run.proposal_words}"
        cards.append(_card("Labels: distance closed", f"{percent(figures['share_closed'], 0)} %", closed))
    return cards


def _validation_cards(run: RunContents) -> list[Markup]:
    figures = run.validation_figures
    if not figures or "AP" not in figures:
        return []
    images = f"{figures.get('images', NOTHING)} validation images; trained with {run.proposal_words}"
    return [
        _card("Segmenter: AP", percent(figures["AP"]), images),
        _card("Segmenter: AP50", percent(figures.get("AP50")), "IoU at least 0.5"),
        _card("Segmenter: AP75", percent(figures.get("AP75")), "IoU at least 0.75"),
    ]


def _by_overlap(figures: Mapping[str, Any], picks: list[str], run: RunContents) -> Markup:
    """How many labels are good, which their mean overlap does not tell."""
    limits = list(figures["selected"]["at_least"])
    shares = {pick: figures[pick]["at_least"] for pick in picks}
    rows = [[PICK_NAMES[pick], *(percent(found[key]) for key in limits)] for pick, found in shares.items()]
    header = ["Pick", *(f"IoU at least {key}" for key in limits)]
    return table(f"Objects by the mask IoU of their labels in percent, {run.proposal_words}", header, rows)


def _by_score(figures: Mapping[str, Any], run: RunContents) -> Markup:
    """Whether sorting by score shows doubtful labels first."""
    columns = ("lowest_score", "highest_score", "labels", "mask_miou", "at_least_half")
    parts = zip(*(figures["fifths"][name] for name in columns), strict=True)
    rows = [
        [f"{_decimal(low)} to {_decimal(high)}", count, percent(overlap), percent(good)]
        for low, high, count, overlap, good in parts
    ]
    note = f"Rank correlation of score and IoU: {_decimal(figures['rank_correlation'])}."
    header = ["Score", "Labels", "Mask mIoU", "IoU at least 0.5"]
    title = f"Labels in five equal parts by their score, percent, {run.proposal_words}"
    return table(title, header, rows, note=f"{note} The lowest scores are the first worth a look.")


def label_section(run: RunContents) -> Markup | None:
    """Return the quality of the labels by size and class; None without figures."""
    figures = run.label_figures
    if not figures or "selected" not in figures:
        return None
    picks = [name for name in PICK_NAMES if name in figures]
    sizes = figures.get("sizes", {})
    counts = {"all": figures.get("objects")} | dict(sizes)
    header = ["Pick", *(f"{name} ({counts.get(name, NOTHING)})" for name in _SIZES)]
    parts: list[object] = []
    for key, name in (("mask_miou", "Mask mIoU"), ("box_miou", "Box mIoU")):
        rows = [[PICK_NAMES[pick], *(percent(figures[pick][key][size]) for size in _SIZES)] for pick in picks]
        parts.append(table(f"{name} by size in percent, {run.proposal_words} (objects)", header, rows))
    if figures["selected"].get("at_least"):
        parts.append(_by_overlap(figures, picks, run))
    if figures.get("gap_threshold") is not None:
        rows = [[PICK_NAMES[pick], _decimal(figures[pick].get("gap"))] for pick in picks]
        note = (
            f"Mean surplus of compactness (mask area over box area) over the ground truth, on the "
            f"{figures.get('gap_objects')} objects with a proposal more compact than T_rv = "
            f"{_decimal(figures['gap_threshold'])}; a high Gap means parts are picked."
        )
        parts.append(
            table(f"Gap (eq. 10 of the paper), {run.proposal_words}", ["Pick", "Gap"], rows, note=note)
        )
    if (figures.get("by_score") or {}).get("fifths"):
        parts.append(_by_score(figures["by_score"], run))
    if figures.get("per_class"):
        header = ["Class", "Objects", *(_SHORT_NAMES[pick] for pick in picks)]
        rows = [
            [name, row.get("objects"), *(percent(row.get(pick)) for pick in picks)]
            for name, row in figures["per_class"].items()
        ]
        parts.append(table(f"Mask mIoU by class in percent, {run.proposal_words}", header, rows))
    missing = figures.get("missing") or []
    if missing:
        shown = ", ".join(str(item) for item in missing[:30]) + (" ..." if len(missing) > 30 else "")
        parts.append(tag("p", f"{len(missing)} objects have no label and count as 0: {shown}", class_="note"))
    return section("labels", "Quality of the labels", *parts)


def validation_section(run: RunContents) -> Markup | None:
    """Return the segmenter's AP as tables; None without figures."""
    figures = run.validation_figures
    if not figures or "AP" not in figures:
        return None
    rows = [["Masks", *(percent(figures.get(name)) for name in _AP_NAMES)]]
    if isinstance(figures.get("box"), Mapping):
        rows.append(["Boxes", *(percent(figures["box"].get(name)) for name in _AP_NAMES)])
    caption = f"COCO AP in percent on the validation images, trained with {run.proposal_words}"
    parts = [table(caption, ["", *_AP_NAMES], rows)]
    if figures.get("per_class"):
        rows = [
            [name, row.get("objects"), *(percent(row.get(key)) for key in ("AP", "AP50", "AP75"))]
            for name, row in figures["per_class"].items()
        ]
        caption = f"Mask AP by class in percent, trained with {run.proposal_words}"
        parts.append(table(caption, ["Class", "Objects", "AP", "AP50", "AP75"], rows))
    return section("segmenter", "The trained segmenter", *parts)


def curves_section(run: RunContents) -> Markup | None:
    """Return loss and AP curves; None where no metrics were recorded."""
    steps = [row for row in run.metrics if row.get("kind") == "step"]
    evaluations = [row for row in run.metrics if row.get("kind") == "evaluation"]
    if not steps and not evaluations:
        return None
    names = [key for key in dict.fromkeys(key for row in steps for key in row) if key.startswith("loss/")]
    names += [key for key in ("learning_rate", "images_per_second") if any(key in row for row in steps)]
    charts = [
        line_chart(name, {name: [(number(row.get("step")), number(row.get(name))) for row in steps]})
        for name in names
    ]
    parts: list[object] = []
    if evaluations:
        series = {
            name: [(number(row.get("step")), 100 * number(row.get(name))) for row in evaluations]
            for name in ("AP", "AP50", "AP75")
        }
        charts.insert(0, line_chart("AP on the validation images (percent)", series))
        header = ["Epoch", "Step", *_AP_NAMES]
        rows = [
            [row.get("epoch"), row.get("step"), *(percent(row.get(name)) for name in _AP_NAMES)]
            for row in evaluations
        ]
        caption = f"AP during training in percent, {run.proposal_words}"
        parts.append(tag("details", tag("summary", "The figures as a table"), table(caption, header, rows)))
    return section("curves", "Training", tag("div", *charts, class_="grid"), *parts)


def settings_section(run: RunContents, defaults: Mapping[str, Any] | None) -> Markup:
    """Return what was run: differences from the default settings, versions, seed, digests.

    Args:
        run: The run.
        defaults: All settings with their default values; where None all settings are listed.
    """
    parts: list[object] = []
    if run.config is not None:
        if defaults is None:
            whole = table("Settings", ["Setting", "Value"], [list(row) for row in _flatten(run.config)])
            parts.append(tag("details", tag("summary", "All settings"), whole))
        elif rows := config_differences(run.config, defaults):
            header = ["Setting", "Value", "Default"]
            parts.append(table("Settings that differ from the defaults", header, rows))
        else:
            parts.append(tag("p", "All settings have their default values."))
    if run.environment:
        rows = [list(row) for row in _flatten(run.environment)]
        whole = table("Versions, seed, inputs and digests", ["", "Value"], rows)
        parts.append(tag("details", tag("summary", "Environment"), whole, open=len(rows) <= 25))
    if run.store is not None:
        rows = [list(row) for row in _flatten(run.store.manifest)]
        parts.append(
            tag(
                "details",
                tag("summary", "Proposal store"),
                table("Manifest of the store", ["", "Value"], rows),
            )
        )
    return section("settings", "What was run", *parts)


def config_differences(
    config: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> list[list[str]]:
    """Return ``[dotted key, value, default]`` of every setting that differs from its default."""
    rows: list[list[str]] = []
    for key, value in config.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            rows += config_differences(value, default, f"{prefix}{key}.")
        elif _plain(value) != _plain(default):
            rows.append([f"{prefix}{key}", str(value), NOTHING if key not in defaults else str(default)])
    return rows


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _flatten(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            rows += _flatten(value, f"{prefix}{key}.")
        else:
            words = NOTHING if value is None else str(value)
            rows.append((f"{prefix}{key}", words if len(words) <= 300 else f"{words[:300]} ..."))
    return rows


def _decimal(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"
