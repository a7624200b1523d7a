"""Labelling: one mask per clicked object, with its score and the proposal it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch

from sapnet.data.annotations import ImagePoints, PointSet
from sapnet.data.dataset import TrainingDataset
from sapnet.data.journal import Journal
from sapnet.data.loading import clicked_images
from sapnet.data.views import ImageViews
from sapnet.evaluation.bag_picks import BagSource
from sapnet.labels.picks import Pick, label_masks, picked_only
from sapnet.mil.label_rule import PAPER_RULE, LabelRule
from sapnet.mil.selection import take_rows
from sapnet.models.sapnet import Picks, SapNet
from sapnet.proposals.proposer import ImageProposals


def pick_proposals(
    model: SapNet,
    views: Sequence[TrainingDataset],
    *,
    rule: LabelRule = PAPER_RULE,
    size_divisor: int,
    mask_stride: int,
    use_segmenter: bool,
    device: torch.device,
    num_workers: int = 0,
    skip_bad: bool = False,
    quiet: bool = False,
    journal: Journal | None = None,
) -> dict[int, Pick]:
    """Choose a proposal for every click of a data set.

    Args:
        model: The trained network.
        views: Samples at test size, and the same at other sizes or mirrored; their scores are averaged.
        rule: How the scores choose.
        size_divisor: Padded sizes are multiples of this.
        mask_stride: Input pixels per mask cell.
        use_segmenter: Whether the SOLOv2 branch has been trained and may weigh in.
        device: Where to compute.
        num_workers: Loader processes.
        skip_bad: Leave out images that cannot be read instead of failing.
        quiet: Show no progress.
        journal: Keeps the picks of every image, by image id, as they are found; those that it has are not
            looked for again.

    Returns:
        The pick of every click by annotation id.

    Raises:
        DataError: Images cannot be read and ``skip_bad`` is off.
        JobError: The journal cannot be written.
    """
    model.eval().to(device)
    picks = {} if journal is None else _kept_picks(journal)
    batches = clicked_images(
        ImageViews(views),
        title="label",
        size_divisor=size_divisor,
        mask_stride=mask_stride,
        num_workers=num_workers,
        skip_bad=skip_bad,
        quiet=quiet,
        rows=None if journal is None else _rows_left(views, journal),
    )
    for (image_id,), of_image in groupby(batches, key=lambda batch: batch.image_ids):
        batch, *others = (view.to(device) for view in of_image)
        found = model.pick(batch, use_segmenter=use_segmenter, others=others, rule=rule)
        ids = batch.prompts.annotation_ids.tolist()
        columns = (found.proposal_index.tolist(), found.scores.tolist(), _votes(found), found.needed.tolist())
        chosen = zip(*columns, strict=True)
        of_clicks = dict(zip(ids, (Pick(*item) for item in chosen), strict=True))
        if journal is not None:
            journal.add(image_id, [[item, *pick] for item, pick in of_clicks.items()])
        picks |= of_clicks
    return picks


def _kept_picks(journal: Journal) -> dict[int, Pick]:
    return {
        click: Pick(proposal, score, tuple(votes), needed)
        for _, of_image in journal.items()
        for click, proposal, score, votes, needed in of_image
    }


def _rows_left(views: Sequence[TrainingDataset], journal: Journal) -> list[int]:
    """Rows of ``ImageViews`` whose images the journal does not have."""
    ids = views[0].points.images.ids.tolist()
    left = [row for row, image_id in enumerate(ids) if image_id not in journal]
    return [row * len(views) + view for row in left for view in range(len(views))]


def _votes(found: Picks) -> list[tuple[float, ...]]:
    """The votes of every click; none where the others together are too few to add or remove a pixel."""
    if found.votes is None:
        return [()] * len(found.scores)
    outvoted = take_rows(found.votes, found.proposal_index, absent=1.0) <= 1 - found.needed
    rows = zip(found.votes.tolist(), outvoted.tolist(), strict=True)
    return [tuple(row) if wanted else () for row, wanted in rows]


def top_score_picks(points: PointSet) -> dict[int, Pick]:
    """Pick the proposal with the highest proposer score everywhere: the baseline without a model.

    Args:
        points: The clicks.

    Returns:
        The first proposal with score 1 by annotation id.
    """
    return {int(item): Pick(0, 1.0) for item in points.annotation_ids}


def label_document(
    points: PointSet,
    store: BagSource,
    picks: Mapping[int, Pick],
    *,
    max_proposals: int | None = None,
) -> dict[str, Any]:
    """Write picks as COCO instances (run lengths).

    Args:
        points: The clicks.
        store: The proposals.
        picks: The pick of every click by annotation id.
        max_proposals: How many proposals per click could be picked; recorded under ``info``, so that
            the rules without a model are measured on the same ones.

    Returns:
        A COCO document: every annotation has the click's id, ``score`` (the overlap with the object that
        the label promises, in [0, 1]), ``point``, ``proposal`` (index in the bag of the proposal that was
        picked), its ``prompt_kind`` and ``proposer_score``, and ``voted``: whether a vote gave the label
        other pixels than the proposal's. Clicks without any proposal are listed under ``unlabelled``.
    """
    parts, _ = label_parts(points, store, picks, max_proposals=max_proposals)
    return {name: list(part) if isinstance(part, Iterator) else part for name, part in parts.items()}


def label_parts(
    points: PointSet,
    store: BagSource,
    picks: Mapping[int, Pick],
    *,
    max_proposals: int | None = None,
) -> tuple[dict[str, Any], set[int]]:
    """Write picks as a COCO document whose lists are made one item at a time, to be read in their order.

    Args:
        points: The clicks.
        store: The proposals.
        picks: The pick of every click by annotation id.
        max_proposals: As for :func:`label_document`.

    Returns:
        The document, with iterators for its lists, and the ids of the clicks with a label, complete once
        the annotations have been read.
    """
    labelled: set[int] = set()
    info: dict[str, Any] = {"description": "instance masks selected by sapnet from one click per object"}
    if max_proposals is not None:
        info["max_proposals"] = max_proposals
    table = points.images
    columns = zip(table.ids, table.file_names, table.widths, table.heights, strict=True)
    return {
        "info": info,
        "images": (
            {"id": int(image_id), "file_name": name, "width": int(width), "height": int(height)}
            for image_id, name, width, height in columns
        ),
        "categories": [{"id": item.id, "name": item.name} for item in points.categories],
        "annotations": _annotations(points, store, picks, labelled),
        "unlabelled": (int(item) for item in points.annotation_ids if int(item) not in labelled),
    }, labelled


def _annotations(
    points: PointSet, store: BagSource, picks: Mapping[int, Pick], labelled: set[int]
) -> Iterator[dict[str, Any]]:
    for row, image_id in enumerate(points.images.ids.tolist()):
        clicks = points.of_image(row)
        if len(clicks.annotation_ids) and image_id in store:
            for item in _of_image(points, clicks, store.of_image(image_id), picks):
                labelled.add(item["id"])
                yield item


def _of_image(
    points: PointSet, clicks: ImagePoints, proposals: ImageProposals, picks: Mapping[int, Pick]
) -> Iterator[dict[str, Any]]:
    """Annotations of one image, in the order of its clicks."""
    chosen = label_masks(proposals, picks)
    plain = picked_only(proposals, picks)
    place = {int(item): row for row, item in enumerate(clicks.annotation_ids)}
    for item, prompt in enumerate(chosen.prompt_index.tolist()):
        annotation_id = int(chosen.annotation_ids[prompt])
        row = place[annotation_id]
        left, top, right, bottom = (float(side) for side in chosen.boxes[item])
        yield {
            "id": annotation_id,
            "image_id": int(proposals.image_id),
            "category_id": points.category_id_of(int(clicks.labels[row])),
            "segmentation": {
                "size": list(proposals.image_size),
                "counts": chosen.counts[item].decode("ascii"),
            },
            "bbox": [left, top, right - left, bottom - top],
            "area": float(chosen.areas[item]),
            "iscrowd": 0,
            "score": round(float(np.clip(picks[annotation_id].score, 0.0, 1.0)), 6),
            "point": [float(value) for value in clicks.xy[row]],
            "proposal": picks[annotation_id].proposal,
            "voted": chosen.counts[item] != plain.counts[item],
            "prompt_kind": chosen.kinds[item],
            "proposer_score": float(chosen.scores[item]),
        }
