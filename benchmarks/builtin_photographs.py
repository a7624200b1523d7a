"""The photographs that the built-in proposer is trained and fitted on, and those kept out of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sapnet.data.annotations import InstanceSet, load_instances
from sapnet.data.coco_json import parse_extras, read_json
from sapnet.proposals.builtin.boundary_data import (
    ObjectPhotograph,
    RegionPhotograph,
    object_photographs,
    region_photographs,
)

MEASURING_SETS = ("street4", "voc20")
RANKING_SHARE = 4
"""Every so many-th image id is kept for the ranking and the scores."""

Pools = list[list[RegionPhotograph | ObjectPhotograph]]


def measuring_names(data: Path) -> set[str]:
    """Return the file names of all photographs that proposers are measured on."""
    return {
        image["file_name"]
        for name in MEASURING_SETS
        for part in ("train", "val")
        for image in read_json(data / name / f"instances_{part}.json")["images"]
    }


def usable_objects(data: Path) -> tuple[InstanceSet, np.ndarray, np.ndarray]:
    """Return the objects, which images may be used (I,), and which are completely labelled (I,)."""
    instances = load_instances(data / "objects" / "instances_all.json")
    names = measuring_names(data)
    images = instances.images
    allowed = np.array([images.file_names[i] not in names for i in range(len(images))])
    complete = np.array(["ann_kind" in parse_extras(images.extras[i]) for i in range(len(images))])
    return instances, allowed, complete


def kept_for_ranking(instances: InstanceSet) -> np.ndarray:
    """Return which images (I,) the boundary network does not see."""
    return instances.images.ids % RANKING_SHARE == 0


def photograph_pools(data: Path) -> tuple[Pools, Pools]:
    """Return photographs to train on, and photographs that nothing is trained on.

    Each is a list of three pools: BSDS500, completely labelled photographs, those with one labelled person.
    """
    instances, allowed, complete = usable_objects(data)
    photographs = object_photographs(instances, data / "images", complete)
    held_out = kept_for_ranking(instances)

    def pools(ours: np.ndarray, regions: list[RegionPhotograph]) -> Pools:
        chosen: list[ObjectPhotograph] = [photographs[i] for i in np.flatnonzero(allowed & ours)]
        whole = [item for item in chosen if item.complete]
        return [list(regions), list(whole), [item for item in chosen if not item.complete]]

    bsds = data / "bsds500"
    return (
        pools(~held_out, region_photographs([bsds / "train", bsds / "val"])),
        pools(held_out, region_photographs([bsds / "test"])),
    )


def ranking_photographs(data: Path, most: int) -> tuple[InstanceSet, np.ndarray]:
    """Return the objects, and the images (rows) for the ranking: complete ones first, then the others."""
    instances, allowed, complete = usable_objects(data)
    rows = np.flatnonzero(allowed & kept_for_ranking(instances))
    return instances, rows[np.argsort(~complete[rows], kind="stable")][:most]
