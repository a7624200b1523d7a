"""Labels as Label Studio tasks with predictions, which people then correct."""

from __future__ import annotations

import math
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray

from sapnet.exporters.losses import Losses, rows_to_write
from sapnet.exporters.polygons import mask_parts, outline
from sapnet.labels.label_set import LabelSet

LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio addresses files of its local storage."""

# The packed form: bits per value, and the four widths that a run's length may have.
_WORD_BITS = 8
_LENGTH_BITS = np.array([3, 4, 8, 16])


def label_studio_tasks(
    labels: LabelSet,
    lost: Losses,
    *,
    shapes: Literal["mask", "polygon"] = "polygon",
    image_url: str = LOCAL_FILES,
    model_version: str = "sapnet",
) -> list[dict[str, Any]]:
    """Build a list of tasks to import.

    The labelling interface needs ``<Image name="image" value="$image"/>`` and
    ``<PolygonLabels name="label" toName="image">`` or ``<BrushLabels ...>`` with the class names.

    Args:
        labels: The objects.
        lost: Counts what is left out.
        shapes: ``polygon``: one polygon region per part, holes joined by a seam; the parts of an
            object share ``meta.object``. ``mask``: brush regions, exact, but slow in the interface.
        image_url: What comes before the quoted file name in ``data.image``.
        model_version: Name of the predictions.

    Returns:
        One task per image. The score of an object is the score of its region; that of a prediction
        is the lowest of its regions, so that sorting puts the doubtful images first.
    """
    tasks = []
    for index, name in enumerate(labels.images.file_names):
        result: list[dict[str, Any]] = []
        rows = rows_to_write(labels, index, lost)
        for row in rows.tolist():
            result += _regions(labels, row, shapes)
        prediction: dict[str, Any] = {"model_version": model_version, "result": result}
        known = labels.scores[rows][~np.isnan(labels.scores[rows])]
        if len(known):
            prediction["score"] = float(known.min())
        url = image_url + quote(name.replace("\\", "/").encode("utf-8", "surrogatepass"))
        tasks.append({"data": {"image": url}, "predictions": [prediction]})
    return tasks


def packed_runs(values: UInt8[ndarray, " n"]) -> list[int]:
    """Pack bytes as Label Studio's brush regions do (the rle-pack form of thi.ng).

    A header of 32 bits for n, 5 for the bits per value less one and four times 4 for the widths of
    run lengths less one; then per run a flag 1, two bits for the width, the length less one, and
    the value.

    Args:
        values: The flattened RGBA picture.

    Returns:
        Bytes.
    """
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])[: len(values)])
    lengths = np.diff(np.append(starts, len(values)))
    longest = 1 << int(_LENGTH_BITS[-1])
    pieces = -(-lengths // longest)
    run_values = np.repeat(values[starts], pieces)
    run_lengths = np.full(len(run_values), longest)
    run_lengths[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * longest
    kinds = np.searchsorted(1 << _LENGTH_BITS, run_lengths)
    numbers = [len(values), _WORD_BITS - 1, *(_LENGTH_BITS - 1)]
    fields = np.stack([np.ones_like(kinds), kinds, run_lengths - 1, run_values.astype(np.int64)], axis=1)
    widths = np.stack([np.full_like(kinds, 1), np.full_like(kinds, 2), _LENGTH_BITS[kinds],
                       np.full_like(kinds, _WORD_BITS)], axis=1)  # fmt: skip
    return _bits(
        np.concatenate([np.array(numbers, dtype=np.int64), fields.ravel()]),
        np.concatenate([[32, 5, 4, 4, 4, 4], widths.ravel()]),
    )


def _bits(numbers: Int[ndarray, " n"], widths: Int[ndarray, " n"]) -> list[int]:
    """Write numbers of given widths one after the other, highest bit first, in whole bytes."""
    owner = np.repeat(np.arange(len(numbers)), widths)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(widths) - widths, widths)
    bits = (numbers[owner] >> (widths[owner] - 1 - within)) & 1
    return np.packbits(bits.astype(np.uint8)).tolist()


def _regions(labels: LabelSet, row: int, shapes: str) -> list[dict[str, Any]]:
    height, width = labels.size_of_row(row)
    number = int(labels.annotation_ids[row])
    common: dict[str, Any] = {
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    if not math.isnan(labels.scores[row]):
        common["score"] = float(labels.scores[row])
    class_name = labels.name_of_row(row)
    mask = labels.mask_of(row)
    if shapes == "mask":
        brush = {"format": "rle", "rle": _brush(mask), "brushlabels": [class_name]}
        return [{**common, "id": f"object{number}", "type": "brushlabels", "value": brush}]
    regions = []
    for place, part in enumerate(mask_parts(mask)):
        ring = outline([part.outer, *part.holes])
        polygon = {
            "points": (ring * (100.0 / width, 100.0 / height)).tolist(),
            "closed": True,
            "polygonlabels": [class_name],
        }
        meta = {"object": [str(number)]}
        regions.append(
            {
                **common,
                "id": f"object{number}p{place}",
                "type": "polygonlabels",
                "value": polygon,
                "meta": meta,
            }
        )
    return regions


def _brush(mask: Bool[ndarray, "H W"]) -> list[int]:
    """Pack a mask as an RGBA picture, row by row, all four channels alike."""
    return packed_runs(np.repeat(np.where(mask.ravel(), 255, 0).astype(np.uint8), 4))
