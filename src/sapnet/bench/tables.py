"""The experiments by name: which rows their tables have.

A row's figures depend on nothing but the row, its seed, the benchmark's settings and the data, so rows of
different experiments that say the same are measured once (``bench/measuring.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sapnet.bench.forms import (
    BOX_MINING,
    GUIDANCE,
    MULTI_MASK,
    NO_OPINION,
    PAPER,
    PAPER_LABELLING,
    REFINEMENT,
    REGIONS,
    RELEASED,
    SINGLE_MIL,
    sections_of,
)
from sapnet.bench.rows import Clicks, Row, Source, merged
from sapnet.config import Config

_PAPER_STEPS = merged(SINGLE_MIL, GUIDANCE, REFINEMENT, REGIONS, BOX_MINING)
"""All of the paper's steps in its form but the alternates, which teach the segmentation branch alone."""

_TOP_SCORE = Row("SAM-top1", labels="top-score")
_ORACLE = Row("best proposal", labels="oracle")
_TRUTH = Row("full supervision", labels="truth", segmenter="fixed", source="ground-truth")


def _stages(source: Source, config: Config) -> tuple[Row, ...]:
    return (
        Row("SAM-top1", labels="top-score", segmenter="fixed"),
        Row("largest that covers no other click", labels="largest-alone"),
        Row("single MIL, two-stage", segmenter="fixed", changes=SINGLE_MIL),
        Row("SAPNet, two-stage", segmenter="fixed"),
        Row("SAPNet, end to end", labels="end-to-end", segmenter="end-to-end"),
        replace(_ORACLE, segmenter="fixed"),  # the most that any choice of proposals could teach
        _TRUTH,
    )


def _components(source: Source, config: Config) -> tuple[Row, ...]:
    return (
        Row("single MIL", changes=SINGLE_MIL, segmenter="end-to-end", group="paper"),
        *_paper_chain(),
        # The differences of docs/adr/0005 all at once; each is a setting that can be changed alone.
        Row("released code: all steps", changes=merged(_PAPER_STEPS, RELEASED), group="released"),
        *_default_chain(config),
        _TOP_SCORE,
        _ORACLE,
    )


def _paper_chain() -> tuple[Row, ...]:
    """The steps of table 4 after the single MIL.

    Alternates (MPS) teach the segmentation branch alone, so they are compared end to end.
    """
    guided = merged(SINGLE_MIL, GUIDANCE)
    refined = merged(guided, REFINEMENT)
    generated = merged(refined, REGIONS)
    alternates, group = merged(_PAPER_STEPS, MULTI_MASK), "paper, end to end"
    return (
        Row("paper: + PDG", changes=guided, group="paper"),
        Row("paper: + second MIL", changes=refined, group="paper"),
        Row("paper: + PNPG", changes=generated, group="paper"),
        Row("paper: + BMS", changes=_PAPER_STEPS, group="paper"),
        Row("paper: + BMS, end to end", "end-to-end", "end-to-end", _PAPER_STEPS, group=group),
        Row("paper: + MPS, end to end", "end-to-end", "end-to-end", alternates, group=group),
    )


def _default_chain(config: Config) -> tuple[Row, ...]:
    """From the paper's single MIL to the benchmark's settings, one replacement at a time."""
    unasked = merged(sections_of(config, "picking"), NO_OPINION)
    labelling = config.labelling.model_dump(mode="json")
    views = merged(
        sections_of(config, "box_mining", "multi_mask", "agreement", "supervision"),
        {"labelling": {**labelling, "vote": False}},
    )
    steps = {
        "features of the backbone, inside the mask": sections_of(config, "mil_head"),
        "+ guidance by masks, exponent 3": sections_of(config, "guidance"),
        "+ picks by class, size and score": unasked,
        "+ second MIL and its regions": sections_of(config, "refinement", "regions"),
        "+ box mining that respects neighbours": sections_of(config, "box_mining"),
        "+ labels of two views, by expected overlap": views,
        "+ a second opinion": sections_of(config, "picking"),
    }
    if config.labelling.vote and config.labelling.overlap_temperature > 0:
        steps["+ a vote over pixels"] = {"labelling": labelling}
    if not config.model.box_mining.enabled:
        del steps["+ box mining that respects neighbours"]
    rows, form = [], SINGLE_MIL
    for name, step in steps.items():
        form = merged(form, step)
        rows.append(Row(f"default: {name}", changes=form, group="default"))
    return (*rows, Row("default, end to end", "end-to-end", "end-to-end", group="default, end to end"))


def _box_mining(source: Source, config: Config) -> tuple[Row, ...]:
    pairs = [(high, low) for high in (0.5, 0.6, 0.7) for low in (0.3, 0.4)]
    return (
        Row(
            "none",
            segmenter="fixed",
            changes=merged(PAPER_LABELLING, {"model": {"box_mining": {"enabled": False}}}),
        ),
        *(
            Row(
                f"T_min1 {high}, T_min2 {low}",
                segmenter="fixed" if (high, low) == (0.6, 0.3) else "none",
                changes=merged(
                    PAPER_LABELLING,
                    BOX_MINING,
                    {"model": {"box_mining": {"overlap_threshold": high, "containing_threshold": low}}},
                ),
            )
            for high, low in pairs
        ),
    )


def _positives_negatives(source: Source, config: Config) -> tuple[Row, ...]:
    cases = {
        "neither": (False, False),
        "positives": (True, False),
        "negatives": (False, True),
        "positives and negatives": (True, True),
    }
    decisive = ("neither", "positives and negatives")
    return tuple(
        Row(
            name,
            segmenter="fixed" if name in decisive else "none",
            changes={"model": {"regions": {"positives": positives, "negatives": negatives}}},
        )
        for name, (positives, negatives) in cases.items()
    )


def _part_problem(source: Source, config: Config) -> tuple[Row, ...]:
    return (
        Row("single MIL", segmenter="fixed", changes=SINGLE_MIL),
        Row("SAPNet, paper's stages", changes=PAPER),
        Row("SAPNet", segmenter="fixed"),
        _TOP_SCORE,
        _ORACLE,
    )


_NOISE = (0.1, 0.3)
_WRONG = (0.1, 0.3)
_ASKED_IMAGES = {"builtin": 1 / 4}
"""Share of the images in ``prompts`` where almost every row has the proposer asked anew, which takes longer
than a training."""


def _prompts(source: Source, config: Config) -> tuple[Row, ...]:
    share = _ASKED_IMAGES.get(source, 1.0)
    kinds = {
        "quasi-centre": Clicks(images=share),
        "centre": Clicks(kind="center", images=share),
        "random": Clicks(kind="random", images=share),
    }
    rows = [
        Row(
            f"{name} points",
            segmenter="none" if name == "centre" else "fixed",
            clicks=clicks,
            group="points",
        )
        for name, clicks in kinds.items()
    ]
    rows += [
        Row(f"{name} points, SAM-top1", labels="top-score", clicks=clicks, group="points, SAM-top1")
        for name, clicks in kinds.items()
    ]
    if source == "builtin":
        rows += _prompt_kinds(share, config)
    rows += [
        Row(
            f"clicks moved by {moved:g} of the object's size",
            clicks=Clicks(noise=moved, images=share),
            group="noise",
        )
        for moved in _NOISE
    ]
    rows += [
        Row(
            f"wrong class of {wrong:.0%} of the clicks",
            segmenter="fixed" if wrong == _WRONG[-1] else "none",
            clicks=Clicks(wrong_classes=wrong, images=share),
            group="classes",
        )
        for wrong in _WRONG
    ]
    return tuple(rows)


def _prompt_kinds(share: float, config: Config) -> list[Row]:
    """What the built-in proposer is asked with; the first row of the table asks as the settings say.

    The other sources ask with the click alone.
    """
    kinds = {
        "the click alone": {"builtin": {"prompts": ["point"]}},
        "the click, other clicks as negatives": {"builtin": {"prompts": ["point+negatives"]}},
        "the click, negatives and the enhancer's box": {
            "boxes": "enhancer",
            "enhancer": {"epochs": round(config.proposals.enhancer.epochs / share)},  # as many steps
            "builtin": {"prompts": ["point+negatives", "box+point"]},
        },
    }
    return [
        Row(
            f"asked with {name}",
            changes={"proposals": section},
            clicks=Clicks(images=share),
            group="asked with",
        )
        for name, section in kinds.items()
    ]


_SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)


def _budget(source: Source, config: Config) -> tuple[Row, ...]:
    ends = (_SHARES[0], _SHARES[-1])
    return tuple(
        Row(
            "all images" if share == 1 else f"1/{round(1 / share)} of the images",
            segmenter="fixed" if share in ends else "none",
            clicks=Clicks(images=share),
        )
        for share in _SHARES
    )


_LONGER = (1, 3, 6)


def _schedule(source: Source, config: Config) -> tuple[Row, ...]:
    rows = []
    for times in _LONGER:
        words = "" if times == 1 else f", {times} times as long"
        rows += [
            replace(_TOP_SCORE, label=f"SAM-top1{words}", segmenter="fixed", longer=times, group=str(times)),
            Row(f"SAPNet{words}", segmenter="fixed", longer=times, group=str(times)),
            *_end_to_end(times, words),
            replace(_TRUTH, label=f"{_TRUTH.label}{words}", longer=times, group=str(times)),
        ]
    return tuple(rows)


def _end_to_end(times: int, words: str) -> tuple[Row, ...]:
    """SAPNet as ``sapnet run`` trains it, with the shortest and the longest schedule."""
    if times not in (_LONGER[0], _LONGER[-1]):
        return ()
    return (Row(f"SAPNet, end to end{words}", "end-to-end", "end-to-end", longer=times, group=str(times)),)


def _retrain(source: Source, config: Config) -> tuple[Row, ...]:
    return (
        Row("Mask R-CNN on SAM-top1", labels="top-score", segmenter="mask-rcnn"),
        Row("Mask R-CNN on SAPNet's labels", segmenter="mask-rcnn"),
        Row("full supervision", labels="truth", segmenter="mask-rcnn", source="ground-truth"),
    )


def _presets(source: Source, config: Config) -> tuple[Row, ...]:
    return (
        _TOP_SCORE,
        Row("paper", changes=PAPER, segmenter="end-to-end"),
        Row("default", segmenter="end-to-end"),
        _ORACLE,
    )


EXPERIMENTS: dict[str, Callable[[Source, Config], tuple[Row, ...]]] = {
    "stages": _stages,
    "components": _components,
    "box-mining": _box_mining,
    "positives-negatives": _positives_negatives,
    "part-problem": _part_problem,
    "prompts": _prompts,
    "budget": _budget,
    "schedule": _schedule,
    "retrain": _retrain,
    "presets": _presets,
}
"""Rows of every experiment that trains, for a source and some settings; not of ``bags``."""
