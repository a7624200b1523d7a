"""Bags of proposals, with or without a run: of one store, or of several proposers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from sapnet.data.annotations import InstanceSet, PointSet, load_instances, load_points
from sapnet.data.image_subset import every_nth_image
from sapnet.data.rle import decode_masks
from sapnet.errors import DataError, StoreError
from sapnet.evaluation.bag_tables import bag_tables
from sapnet.evaluation.matching import mask_iou_matrix, to_rles
from sapnet.proposals.quality import bag_quality, best_overlaps
from sapnet.proposals.store import ProposalStore
from sapnet.report.markup import Markup, percent, section, table, tag
from sapnet.report.pictures import PROPOSAL_COLOR, TRUTH_COLOR, Album, object_window, panel
from sapnet.report.run_contents import truth_of

Section = tuple[str, str, Markup]
"""Identifier, name in the navigation, content."""

_POOR, _RANDOM = 8, 12
"""Clicks shown of each kind."""
_SIDE, _SMALL_SIDE = 180, 118
_HIT = 0.5


@dataclass(frozen=True)
class Bags:
    """Stores made from the same clicks, what they are called, and what they are shown with."""

    points: PointSet
    images: Path
    instances: InstanceSet | None
    stores: Mapping[str, ProposalStore]


def store_sections(
    folder: Path, points: Path, images: Path, instances: Path | None, album: Album
) -> tuple[str, list[Section]]:
    """Return title and sections of a proposal store.

    Args:
        folder: The store.
        points: The points file it was made from.
        images: Their folder.
        instances: Ground truth, for the overlaps.
        album: Makes the pictures.

    Raises:
        DataError, StoreError: Something is wrong with one of them; the store was made from other points.
    """
    clicks = load_points(points)
    store = ProposalStore.open(folder, clicks)
    if not images.is_dir():
        raise DataError(str(images), ["There is no such image folder."])
    truth = None if instances is None else load_instances(instances)
    name = str(store.manifest["proposer"]["name"])
    found: list[Section] = []
    if truth is not None:
        row = {"label": name, "points": "given", "quality": bag_quality(store, truth)}
        found.append(("results", "Quality", section("results", "Quality", *drawn_tables(bag_tables([row])))))
    shown = bag_section(Bags(clicks, images, truth, {name: store}), album)
    if shown is not None:
        found.append(("bags", "Bags", shown))
    rows = [[key, str(value)] for key, value in store.manifest.items()]
    manifest = section("settings", "What was run", table("Manifest of the store", ["", "Value"], rows))
    return f"Proposals of {name}", [*found, ("settings", "What was run", manifest)]


def benchmark_sections(content: Mapping[str, Any], album: Album) -> list[Section]:
    """Return the sections of the experiment ``bags``.

    Args:
        content: Of its ``bench.json``.
        album: Makes the pictures; what cannot be read any more is left out and said.
    """
    found: list[Section] = [
        ("results", "Results", section("results", "Results", *drawn_tables(content["tables"])))
    ]
    inputs = content["inputs"]
    for kind, points in inputs["points"].items():
        names = {row["label"]: row["store"] for row in content["rows"] if row["points"] == kind}
        identifier, title = f"bags-{kind}", f"Bags, {kind} points"
        try:
            clicks = every_nth_image(load_points(points), content.get("every", 1))
            stores = {
                label: ProposalStore.open(Path(inputs["stores"]) / name, clicks)
                for label, name in names.items()
            }
            bags = Bags(clicks, Path(inputs["images"]), load_instances(inputs["instances"]), stores)
            shown = bag_section(bags, album, identifier=identifier, title=title)
        except (DataError, StoreError) as error:
            shown = section(identifier, title, tag("p", f"They cannot be shown: {error}", class_="note"))
        if shown is not None:
            found.append((identifier, title, shown))
    other = [[key, str(value)] for key, value in content.items() if key not in ("rows", "tables")]
    record = table("Record of the benchmark", ["", "Value"], other)
    return [*found, ("settings", "What was run", section("settings", "What was run", record))]


def drawn_tables(tables: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Return tables of :mod:`sapnet.evaluation.bag_tables` as HTML."""
    return [
        table(
            item["caption"],
            item["header"],
            [[f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row] for row in item["rows"]],
            note=item["note"] or None,
        )
        for item in tables
        if item["rows"]
    ]


def bag_section(bags: Bags, album: Album, *, identifier: str = "bags", title: str = "Bags") -> Markup | None:
    """Return clicks with their proposals, best score first; None where there are no clicks.

    Args:
        bags: What to show.
        album: Makes the pictures.
        identifier: Of the section.
        title: Of the section.
    """
    groups = _groups(bags)
    parts: list[object] = []
    for heading, words, rows in groups:
        shown = [article for row in rows if (article := _article(bags, album, row)) is not None]
        if shown:
            parts += [tag("h3", heading), tag("p", words), *shown]
    if not parts:
        return None
    intro = "Every click with the proposals of its bag in order of score: score, kind of prompt"
    intro += "." if bags.instances is None else ", and IoU with the ground truth."
    return section(identifier, title, tag("p", intro), *parts)


def _groups(bags: Bags) -> list[tuple[str, str, list[int]]]:
    """Titles, words and rows of the clicks to show."""
    rng = np.random.default_rng(0)
    everything = rng.permutation(len(bags.points)).tolist()
    groups = [("Random clicks", "Drawn with a fixed seed, not chosen.", everything[:_RANDOM])]
    if bags.instances is None:
        return groups
    best: dict[int, float] = {}
    for store in bags.stores.values():
        for number, overlap in best_overlaps(store, bags.instances).items():
            best[number] = max(best.get(number, 0.0), overlap)
    ids = bags.points.annotation_ids
    poor = [row for row in everything if best.get(int(ids[row]), 1.0) < _HIT]
    share = percent(len(poor) / len(best)) if best else "0"
    words = f"No proposal has an IoU of 0.5: {len(poor)} of {len(best)} clicks ({share} %); some at random."
    return [*groups, ("Clicks without a good proposal", words, poor[:_POOR])]


def _article(bags: Bags, album: Album, row: int) -> Markup | None:
    """One click: the place, the truth, and a strip of proposals for every store."""
    index = int(bags.points.annotation_image_index[row])
    number, click = int(bags.points.annotation_ids[row]), bags.points.xy[row].tolist()
    file_name = bags.points.images.file_names[index]
    image = album.read(bags.images / file_name)
    if image is None:
        return None
    size = (int(image.shape[0]), int(image.shape[1]))
    truth = truth_of(bags.instances, number, size)
    found = {
        label: _bag(store, int(bags.points.images.ids[index]), number, size)
        for label, store in bags.stores.items()
    }
    first = [counts[0] for counts, _, _ in found.values() if counts][:1]
    window = object_window([*([] if truth is None else [truth]), *first], click, size)
    category = bags.points.categories[int(bags.points.annotation_labels[row])].name
    title = f"{category}, annotation {number} in {file_name}"

    def view(counts: bytes | None, color: tuple[int, int, int], words: str, side: int) -> Markup:
        mask = None if counts is None else decode_masks([counts], size)[0]
        drawn = panel(image, window, mask=mask, color=color, click=click, side=side)
        return tag("figure", album.picture(drawn, f"{words} for {title}"), tag("figcaption", words))

    views = [view(None, PROPOSAL_COLOR, "Click", _SIDE)]
    if truth is not None:
        views.append(view(truth, TRUTH_COLOR, "Ground truth", _SIDE))
    parts: list[object] = [tag("div", *views, class_="strip main")]
    for label, (counts, scores, kinds) in found.items():
        overlaps = _overlaps(counts, truth, size)
        strip = [
            view(mask, PROPOSAL_COLOR, f"{score:.2f} {kind}{overlap}", _SMALL_SIDE)
            for mask, score, kind, overlap in zip(counts, scores, kinds, overlaps, strict=True)
        ]
        words = f"{label}: {len(counts)} proposals" if strip else f"{label}: no proposal"
        parts.append(tag("p", words, class_="strip-title"))
        if strip:
            name = f"Proposals of {label} for {title}"
            parts.append(tag("div", *strip, class_="strip", tabindex="0", role="group", aria_label=name))
    return tag("article", tag("h4", title), *parts)


def _overlaps(counts: Sequence[bytes], truth: bytes | None, size: tuple[int, int]) -> list[str]:
    if truth is None or not counts:
        return [""] * len(counts)
    masks = to_rles([*counts, truth], np.array([size] * (len(counts) + 1)))
    return [f", IoU {value:.2f}" for value in mask_iou_matrix(masks[:-1], masks[-1:])[:, 0]]


def _bag(
    store: ProposalStore, image_id: int, annotation_id: int, size: tuple[int, int]
) -> tuple[tuple[bytes, ...], ndarray, tuple[str, ...]]:
    """Masks, scores and kinds of a bag; none where the image was skipped or has another size."""
    if image_id in store:
        proposals = store.of_image(image_id)
        prompt = np.flatnonzero(proposals.annotation_ids == annotation_id)
        if len(prompt) and tuple(proposals.image_size) == size:
            rows = proposals.of_prompt(int(prompt[0]))
            return proposals.counts[rows], proposals.scores[rows], proposals.kinds[rows]
    return (), np.zeros(0), ()
