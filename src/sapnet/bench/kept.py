"""Kept figures of a row: what they were measured with, and their refusal where that has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapnet.config_loader import leaves
from sapnet.data.annotations import InstanceSet
from sapnet.data.atomic import write_json_atomic
from sapnet.errors import CheckpointError
from sapnet.labels.picks import Pick


class NotMeasured(Exception):
    """A figure that is not kept yet, where nothing is to be measured."""


RESULT_NAME = "result.json"
PICKS_NAME = "picks.json"
_ORIGIN = "measured_with"


def instances_digest(instances: InstanceSet) -> str:
    """Return the SHA-256 of what evaluation reads of ground truth.

    Args:
        instances: The ground truth.
    """
    digest = hashlib.sha256()
    images = instances.images
    names = [[item.id, item.name] for item in instances.categories]
    digest.update(json.dumps([names, list(images.file_names)]).encode())
    columns = [images.ids, images.heights, images.widths, instances.annotation_ids]
    columns += [instances.annotation_image_index, instances.annotation_labels]
    columns += [instances.areas, instances.iscrowd, instances.ignore]
    for column in columns:
        digest.update(column.astype("<f8").tobytes())
    for row in range(len(instances.annotation_ids)):
        digest.update(instances.counts[row] + b"\n")
    return digest.hexdigest()


def read_kept(folder: Path, origin: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the figures kept in the folder of a row.

    Args:
        folder: Of the row with one seed.
        origin: Everything that the figures depend on, JSON-able: settings, digests.

    Returns:
        The figures; None if there are none.

    Raises:
        CheckpointError: They were measured with other settings or data; the keys are named.
    """
    path = folder / RESULT_NAME
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        before = dict(leaves(found.get(_ORIGIN) or {}))
    except (ValueError, AttributeError) as error:
        raise CheckpointError(str(path), [f"not the figures of a row: {error}"]) from error
    advice = "give another --out, or remove this folder to measure the row anew"
    if not before:
        raise CheckpointError(str(path), [f"does not say what it was measured with; {advice}"])
    now = dict(leaves(json.loads(json.dumps(origin))))
    problems = [
        f"{key}: it was measured with {before.get(key)}, now it is {now.get(key)}"
        for key in [*now, *(key for key in before if key not in now)]
        if before.get(key) != now.get(key)
    ]
    if problems:
        raise CheckpointError(str(path), [*problems, advice])
    return found


def write_kept(folder: Path, figures: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Keep the figures of a row in its folder.

    Args:
        folder: Of the row with one seed.
        figures: JSON-able figures.
        origin: As in ``read_kept``.
    """
    write_json_atomic(folder / RESULT_NAME, {**figures, _ORIGIN: dict(origin)})


def write_picks(folder: Path, picks: Mapping[int, Pick]) -> None:
    """Keep the picks of a row, for rows that learn from them.

    Args:
        folder: Of the row with one seed.
        picks: By annotation id.
    """
    rows = [[key, *pick] for key, pick in sorted(picks.items())]
    write_json_atomic(folder / PICKS_NAME, rows)


def read_picks(folder: Path) -> dict[int, Pick]:
    """Read the picks that a measured row has kept.

    Args:
        folder: Of the row with one seed.

    Returns:
        The picks by annotation id.

    Raises:
        CheckpointError: There are none, or the file is damaged.
    """
    path = folder / PICKS_NAME
    try:
        return {
            int(key): Pick(int(index), float(score), tuple(map(float, votes)), float(needed))
            for key, index, score, votes, needed in json.loads(path.read_text(encoding="utf-8"))
        }
    except (OSError, ValueError, TypeError) as error:
        advice = "remove this folder to measure the row anew"
        raise CheckpointError(str(path), [f"no picks of a measured row: {error}; {advice}"]) from error
