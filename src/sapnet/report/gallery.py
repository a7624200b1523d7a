"""Examples: click, proposals with their scores, the pick against the top score and the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from sapnet.data.rle import decode_masks, segmentation_to_counts
from sapnet.errors import StoreError
from sapnet.evaluation.matching import mask_iou_matrix, to_rles
from sapnet.report.markup import Markup, join, section, tag
from sapnet.report.pictures import (
    PICK_COLOR,
    PROPOSAL_COLOR,
    TOP_SCORE_COLOR,
    TRUTH_COLOR,
    Album,
    object_window,
    panel,
)
from sapnet.report.run_contents import RunContents, truth_of

WORST, GAINS, RANDOM = 12, 8, 8
"""How many examples of each kind are shown."""
_STRIP = 8
"""Proposals shown per example."""


@dataclass(frozen=True)
class _Group:
    title: str
    words: str
    annotation_ids: list[int]


@dataclass(frozen=True)
class _Example:
    """One clicked object in the original frame; arrays are empty where something is unknown."""

    title: str
    image: ndarray
    click: list[float] | None
    pick: bytes
    score: float | None
    truth: bytes | None
    counts: tuple[bytes, ...]
    """Masks of the bag, best proposer score first."""
    scores: ndarray
    kinds: tuple[str, ...]
    picked: int | None
    """Place of the pick in the bag."""


def gallery_section(run: RunContents, album: Album) -> Markup | None:
    """Return the examples, worst first; None where the run has no labels or no images."""
    if run.labels is None or run.images is None or not run.labels.get("annotations"):
        return None
    labels = {item["id"]: item for item in run.labels["annotations"]}
    images = {item["id"]: item for item in run.labels.get("images", [])}
    parts: list[object] = [tag("p", _explanation(run))]
    for group in _groups(run, labels):
        shown = [_render(run, album, labels[number], images) for number in group.annotation_ids]
        shown = [item for item in shown if item is not None]
        if shown:
            parts += [tag("h3", group.title), tag("p", group.words), *shown]
    return section("examples", f"Examples ({run.proposal_words})", *parts)


def _explanation(run: RunContents) -> str:
    words = (
        "Each row shows one clicked object: the click, its label, the mask with the highest proposer score, "
        "and the proposals with their scores. A label is the mask of the picked proposal, or what a vote "
        "over the pixels of all proposals made of it."
    )
    if run.instances is not None:
        words += " IoU is the overlap with the ground truth mask."
    if run.store is None:
        words += " The proposals are not shown because the store could not be opened."
    if run.simulated:
        words += " The proposals are simulated: drawn from ground truth, not found in the image."
    return words


def _groups(run: RunContents, labels: Mapping[int, Mapping[str, Any]]) -> list[_Group]:
    figures = (run.label_figures or {}).get("per_object")
    rng = np.random.default_rng(0)
    if not figures:
        scored = sorted(labels, key=lambda number: (labels[number].get("score") or 0.0, number))
        worst = _Group("Least certain picks", "Lowest score of the pick first.", scored[:WORST])
        rest = [number for number in labels if number not in set(worst.annotation_ids)]
        return [worst, _random(rest, rng)]
    ids = np.asarray(figures["annotation_id"])
    known = np.isin(ids, list(labels))
    ids, selected = ids[known], np.asarray(figures["selected_iou"], dtype=float)[known]
    if "oracle_iou" not in figures:
        lowest = ids[np.argsort(selected, kind="stable")][:WORST].tolist()
        groups = [_Group("Worst picks", "Lowest overlap with the ground truth first.", lowest)]
    else:
        lost = np.asarray(figures["oracle_iou"], dtype=float)[known] - selected
        gained = selected - np.asarray(figures["top_score_iou"], dtype=float)[known]
        worst_ids = ids[np.argsort(-lost, kind="stable")][:WORST].tolist()
        order = np.argsort(-gained, kind="stable")[:GAINS]
        words = "Where a much better proposal was in the bag: the largest loss of overlap first."
        groups = [
            _Group("Worst picks", words, worst_ids),
            _Group(
                "Largest gains over the top score",
                "Where the pick fits best compared with the mask of the highest proposer score.",
                ids[order][gained[order] > 0].tolist(),
            ),
        ]
    used = {number for group in groups for number in group.annotation_ids}
    return [*groups, _random([number for number in ids.tolist() if number not in used], rng)]


def _random(ids: list[int], rng: np.random.Generator) -> _Group:
    chosen = rng.permutation(len(ids))[:RANDOM]
    return _Group("Random examples", "Drawn with a fixed seed, not chosen.", [ids[row] for row in chosen])


def _render(
    run: RunContents, album: Album, label: Mapping[str, Any], images: Mapping[int, Mapping[str, Any]]
) -> Markup | None:
    example = _example(run, album, label, images)
    if example is None:
        return None
    size = (example.image.shape[0], example.image.shape[1])
    window = _window(example, size)

    def view(
        counts: bytes | None, color: tuple[int, int, int], heading: str, detail: str, **mark: Any
    ) -> Markup:
        mask = None if counts is None else decode_masks([counts], size)[0]
        # The dot would hide small objects, so it is drawn where there is no mask.
        drawn = panel(
            example.image, window, mask=mask, color=color, click=example.click if mask is None else None
        )
        picture = album.picture(drawn, f"{heading} {detail} for {example.title}")
        return tag("figure", picture, tag("figcaption", tag("b", heading), " ", detail), **mark)

    def overlap(counts: bytes) -> str:
        if example.truth is None:
            return ""
        pair = to_rles([counts, example.truth], np.array([size, size]))
        return f"IoU {mask_iou_matrix(pair[:1], pair[1:])[0, 0]:.2f}"

    score = "" if example.score is None else f" score {example.score:.2f}"
    views = [view(None, PICK_COLOR, "Click", "")]
    if example.truth is not None:
        views.append(view(example.truth, TRUTH_COLOR, "Ground truth", ""))
    views.append(view(example.pick, PICK_COLOR, "Label", overlap(example.pick) + score, class_="pick"))
    if example.counts:
        views.append(view(example.counts[0], TOP_SCORE_COLOR, "Top score", overlap(example.counts[0])))
    strip = [
        view(
            example.counts[row],
            PROPOSAL_COLOR,
            f"{example.scores[row]:.2f}" + (" picked" if row == example.picked else ""),
            f"{example.kinds[row]} {overlap(example.counts[row])}".strip(),
            class_="pick" if row == example.picked else None,
        )
        for row in _shown_rows(example)
    ]
    return _article(run, example, views, strip)


def _article(run: RunContents, example: _Example, views: list[Markup], strip: list[Markup]) -> Markup:
    words = f"Proposals of {example.title}"
    kind = "Simulated proposals" if run.simulated else "Proposals"
    shown = f"{len(strip)} of {len(example.counts)}" if len(strip) < len(example.counts) else str(len(strip))
    below = [
        tag("p", f"{kind} with their scores, best first ({shown}):", class_="strip-title"),
        tag("div", *strip, class_="strip", tabindex="0", role="group", aria_label=words),
    ]
    return tag(
        "article",
        tag("h4", example.title),
        tag("div", *views, class_="strip main", tabindex="0", role="group", aria_label=example.title),
        join(below) if strip else None,
    )


def _window(example: _Example, size: tuple[int, int]) -> tuple[slice, slice]:
    """Return a crop around the masks; a mask far larger than the object is cut off."""
    masks = [counts for counts in (example.truth, example.pick, *example.counts[:1]) if counts]
    return object_window(masks, example.click, size)


def _shown_rows(example: _Example) -> list[int]:
    """The first proposals, with the picked one in any case."""
    rows = list(range(min(_STRIP, len(example.counts))))
    if example.picked is not None and example.picked not in rows:
        rows[-1] = example.picked
    return rows


def _example(
    run: RunContents, album: Album, label: Mapping[str, Any], images: Mapping[int, Mapping[str, Any]]
) -> _Example | None:
    entry = images.get(label["image_id"])
    image = album.read(run.images / entry["file_name"]) if entry is not None and run.images else None
    if image is None or entry is None:
        return None
    size = (int(image.shape[0]), int(image.shape[1]))
    try:
        pick = segmentation_to_counts(label["segmentation"], size)
    except ValueError:
        return None
    counts, scores, kinds = _bag(run, label, size)
    place = label.get("proposal")
    name = run.class_names().get(label.get("category_id", -1), "object")
    return _Example(
        title=f"{name}, annotation {label['id']} in {entry['file_name']}",
        image=image,
        click=label.get("point"),
        pick=pick,
        score=label.get("score"),
        truth=truth_of(run.instances, label["id"], size),
        counts=counts,
        scores=scores,
        kinds=kinds,
        picked=place if isinstance(place, int) and 0 <= place < len(counts) else None,
    )


def _bag(
    run: RunContents, label: Mapping[str, Any], size: tuple[int, int]
) -> tuple[tuple[bytes, ...], ndarray, tuple[str, ...]]:
    nothing: tuple[tuple[bytes, ...], ndarray, tuple[str, ...]] = ((), np.zeros(0), ())
    if run.store is None or label["image_id"] not in run.store:
        return nothing
    try:
        proposals = run.store.of_image(label["image_id"])
    except StoreError:
        return nothing
    prompt = np.flatnonzero(proposals.annotation_ids == label["id"])
    if not len(prompt) or tuple(proposals.image_size) != size:
        return nothing
    rows = proposals.of_prompt(int(prompt[0]))
    return proposals.counts[rows], proposals.scores[rows], proposals.kinds[rows]
