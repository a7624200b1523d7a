"""Import of the proposal JSON that SAPNet's authors released, and export to it (CONTRACT 3.2).

The file is COCO-shaped; :mod:`sapnet.proposals.authors_rows` says what an annotation holds. It is read
twice, entry by entry: first everything is checked and the places of the annotations are noted, then the
store is written image by image, so memory holds one image and a few numbers per annotation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from sapnet.errors import DataError, InputError, JobError
from sapnet.proposals.authors_rows import bag_entry, read_bag
from sapnet.proposals.authors_survey import Survey
from sapnet.proposals.json_stream import JsonScan, read_element, write_text_parts_atomic
from sapnet.proposals.proposer import ImageProposals, collect_proposals, prompts_of_image
from sapnet.proposals.store import ProposalStore
from sapnet.proposals.store_writer import StoreWriter

if TYPE_CHECKING:
    from sapnet.data.annotations import PointSet

PROPOSER_NAME = "authors-json"
RELEASED_PROPOSALS = 6
"""Proposals per annotation that the authors' code expects, always."""


class Imported(NamedTuple):
    """What became of the annotations of a file."""

    store: ProposalStore
    crowds: int
    """Annotations marked ``iscrowd`` or ``ignore`` that no click has."""
    unknown: int
    """Other annotations that no click has (only with ``skip_bad``)."""
    without_proposals: int
    """Clicks that no annotation has; their bags are empty (only with ``skip_bad``)."""


class Exported(NamedTuple):
    """What was written for the clicks of a store."""

    annotations: int
    cut: int
    """Annotations with more proposals than were written."""
    repeated: int
    """Annotations with fewer, so that some were written again."""
    left_out: int
    """Clicks without any proposal, or in images that the store skipped."""


def import_authors_json(
    path: Path | str,
    points: PointSet,
    out: Path | str,
    *,
    skip_bad: bool = False,
    progress: Callable[[int, int, int], None] | None = None,
) -> Imported:
    """Write a proposal store from the authors' JSON. Images are not needed.

    Annotations and clicks are matched by id. The proposer in the manifest is ``authors-json``, or
    for a file of :func:`export_authors_json` the proposer of the exported store, so that proposals made
    from ground truth stay known as such. Interrupted, the same call continues.

    Args:
        path: The JSON file.
        points: The clicks.
        out: The store's folder.
        skip_bad: Leave out annotations whose id no click has, and give clicks without an annotation an
            empty bag, instead of refusing the file.
        progress: Called after every image with (images done, images in all, proposals of this run).

    Returns:
        The finished store and what was left out.

    Raises:
        DataError: The file is missing, no JSON, or does not fit the clicks; lists all problems (in full
            the first fifty), and nothing is written.
        StoreError: ``out`` holds something else or a store of other origin.
        JobError: The disk is full, or the file changed while it was read.
    """
    survey = Survey(points, skip_bad=skip_bad)
    scan = JsonScan(path)
    survey.read(scan)
    if survey.num_problems:
        surplus = survey.num_problems - len(survey.problems)
        more = [f"... and {surplus} more."] if surplus else []
        raise DataError(str(path), [*survey.problems, *more])
    made_by = survey.info.get("proposer")
    made_by = made_by if isinstance(made_by, Mapping) and isinstance(made_by.get("name"), str) else {}
    with StoreWriter(
        out,
        proposer_name=made_by.get("name", PROPOSER_NAME),
        proposer_settings={"json_sha256": scan.digest, "made_with": made_by.get("settings"), "version": 1},
        points_digest=points.digest,
    ) as writer:
        if not writer.finished:
            _write_images(Path(path), points, survey, writer, progress)
        return Imported(writer.finish(), survey.crowds, survey.unknown, int((survey.offset < 0).sum()))


def export_authors_json(
    store: ProposalStore,
    points: PointSet,
    path: Path | str,
    *,
    proposals_per_click: int | None = RELEASED_PROPOSALS,
) -> Exported:
    """Write a store as the authors' JSON, atomically and image by image.

    Masks, boxes, scores, kinds and order survive an import, but for proposals that were cut off.
    ``true_bbox`` is no ground truth but a box of two pixels around the click (see
    :func:`~sapnet.proposals.authors_rows.bag_entry`); ``info.true_bbox`` says so in the file.

    Args:
        store: The proposals.
        points: The clicks that the store was made from.
        path: The file to write.
        proposals_per_click: How many proposals every annotation gets: the best ones, and where there
            are fewer, these again. None writes what there is, which the authors' code cannot read.

    Returns:
        Numbers of annotations.

    Raises:
        InputError: ``proposals_per_click`` is less than one.
        StoreError: The store was made from other points, or is damaged.
        JobError: The file cannot be written.
    """
    if proposals_per_click is not None and proposals_per_click < 1:
        problem = f"proposals_per_click is {proposals_per_click}, expected at least 1."
        raise InputError("the settings of the export", [problem])
    store = ProposalStore.open(store.folder, points)
    tally = {"annotations": 0, "cut": 0, "repeated": 0, "left_out": 0}
    write_text_parts_atomic(path, _document(store, points, proposals_per_click, tally))
    return Exported(**tally)


def _write_images(
    path: Path,
    points: PointSet,
    survey: Survey,
    writer: StoreWriter,
    progress: Callable[[int, int, int], None] | None,
) -> None:
    total, num_proposals = len(points.images), 0
    done = writer.done
    with path.open("rb") as file:
        for index, image_id in enumerate(points.images.ids.tolist()):
            if image_id in done:
                continue
            try:
                proposals = _of_image(file, points, survey, index)
            except (ValueError, KeyError) as error:
                raise JobError(f"{path} changed while it was read; run the same command again.") from error
            writer.append(proposals)
            num_proposals += proposals.num_proposals
            if progress is not None:
                progress(len(writer.done), total, num_proposals)


def _of_image(file: BinaryIO, points: PointSet, survey: Survey, index: int) -> ImageProposals:
    size = points.images.size(index)
    owner: list[int] = []
    counts: list[bytes] = []
    scores: list[float] = []
    kinds: list[str] = []
    for prompt, row in enumerate(points.rows_of(index).tolist()):
        if survey.offset[row] < 0:
            continue
        entry = read_element(file, int(survey.offset[row]), int(survey.length[row]))
        bag, problems = read_bag(entry, size)
        if problems:
            raise ValueError(problems[0])
        owner.extend([prompt] * len(bag.counts))
        counts.extend(bag.counts)
        scores.extend(bag.scores)
        kinds.extend(bag.kinds)
    prompts = prompts_of_image(points, index)
    return collect_proposals(prompts, size, prompt_index=owner, counts=counts, scores=scores, kinds=kinds)


def _document(
    store: ProposalStore, points: PointSet, per_click: int | None, tally: dict[str, int]
) -> Iterator[str]:
    """Yield the text of the file in parts, counting in ``tally``."""
    table = points.images
    info = {
        "proposer": store.manifest["proposer"],
        "true_bbox": "a placeholder around the click; no ground truth",
    }
    images = (
        {"id": int(table.ids[i]), "file_name": table.file_names[i], "width": size[1], "height": size[0]}
        for i, size in enumerate(map(table.size, range(len(table))))
    )
    categories = ({"id": category.id, "name": category.name} for category in points.categories)
    yield f'{{"info":{_json(info)}'
    for key, entries in (
        ("images", images),
        ("categories", categories),
        ("annotations", _annotations(store, points, per_click, tally)),
    ):
        yield f',"{key}":['
        for number, entry in enumerate(entries):
            yield f"{',' if number else ''}\n{_json(entry)}"
        yield "]"
    yield "}\n"


def _annotations(
    store: ProposalStore, points: PointSet, per_click: int | None, tally: dict[str, int]
) -> Iterator[dict[str, Any]]:
    for index, image_id in enumerate(points.images.ids.tolist()):
        rows = points.rows_of(index).tolist()
        if image_id not in store:
            tally["left_out"] += len(rows)
            continue
        proposals = store.of_image(image_id)
        sizes = np.bincount(proposals.prompt_index, minlength=len(rows)).tolist()
        for prompt, (row, size) in enumerate(zip(rows, sizes, strict=True)):
            if per_click is not None and size == 0:
                tally["left_out"] += 1
                continue
            tally["annotations"] += 1
            tally["cut"] += per_click is not None and size > per_click
            tally["repeated"] += per_click is not None and size < per_click
            yield {
                "id": int(points.annotation_ids[row]),
                "image_id": image_id,
                "category_id": points.category_id_of(int(points.annotation_labels[row])),
                "point": points.xy[row].tolist(),
                "iscrowd": 0,
                **bag_entry(proposals, prompt, points.xy[row], per_click),
            }


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
