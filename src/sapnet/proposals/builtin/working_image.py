"""The reduced image, and what is computed once per image for all its clicks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from sapnet.proposals.builtin.bag_features import Surroundings, surroundings_of
from sapnet.proposals.builtin.candidate_features import Click
from sapnet.proposals.builtin.hierarchy import contour_tree
from sapnet.proposals.builtin.region_table import RegionTable, describe_regions
from sapnet.proposals.builtin.sharing import in_threads
from sapnet.proposals.proposer import ImagePrompts
from sapnet.proposals.region_tree import RegionTree

if TYPE_CHECKING:
    from sapnet.proposals.builtin.boundary_maps import BoundaryMaps
    from sapnet.proposals.builtin.boundary_network import BoundaryNetwork
    from sapnet.proposals.builtin.prompt_head import FusedMaps, PromptHead

TREES = ((0.0, 2.0), (0.6, 1.5))
"""Of each tree: the share of the object borders in its boundary strength, and its sharpness."""
COLOR_WEIGHT = 0.001
"""Cost of merging regions per unit of colour difference."""
_MOST_ENLARGED = 2.0


@dataclass(frozen=True)
class WorkingImage:
    """The reduced image and what is computed once per image."""

    scale: Float[ndarray, " 2"]
    """Working pixels per original pixel, along x and y."""
    maps: BoundaryMaps
    tables: tuple[RegionTable, ...]
    """None where the trees are not asked for."""
    fused: FusedMaps | None
    """What the promptable head sees; None where it is not asked."""
    around: Surroundings

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` of the working frame."""
        return int(self.maps.inside.shape[0]), int(self.maps.inside.shape[1])


def reduce_image(
    image: UInt8[ndarray, "H W 3"],
    network: BoundaryNetwork,
    head: PromptHead | None = None,
    *,
    long_side: int,
    with_trees: bool = True,
) -> WorkingImage:
    """Bring an image to a long side, enlarging it at most twice, run the network and build the trees.

    Small objects need the enlargement: their borders are a few cells of the finest maps apart.

    Args:
        image: RGB, original frame.
        network: The boundary network, in evaluation mode.
        head: The promptable head, in evaluation mode; None where it will not be asked.
        long_side: Pixels.
        with_trees: Whether to build the trees.
    """
    from sapnet.proposals.builtin.boundary_maps import image_maps

    height, width = image.shape[:2]
    factor = min(long_side / max(height, width), _MOST_ENLARGED)
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    filter_kind = cv2.INTER_AREA if factor < 1.0 else cv2.INTER_CUBIC
    reduced = cv2.resize(image, size, interpolation=filter_kind) if size != (width, height) else image
    reduced = np.ascontiguousarray(reduced)
    maps, fuse = image_maps(network, head, reduced)
    lab = cv2.cvtColor(reduced, cv2.COLOR_RGB2LAB).astype(np.float32)

    def tree_of(setting: tuple[float, float]) -> RegionTree:
        share, sharpness = setting
        strength = (1.0 - share) * maps.region + share * maps.border
        return contour_tree(strength, lab, color_weight=COLOR_WEIGHT, sharpness=sharpness)

    trees = in_threads(tree_of, TREES if with_trees else ())
    # What the head needs takes about as long as describing both trees.
    described = [partial(describe_regions, tree, maps, lab) for tree in trees]
    work: list[Callable[[], Any]] = [fuse or (lambda: None), *described, partial(surroundings_of, maps)]
    fused, *tables, around = in_threads(lambda item: item(), work)
    scale = np.array([size[0] / width, size[1] / height])
    return WorkingImage(scale, maps, tuple(tables), fused, around)


def click_of(
    prompts: ImagePrompts, index: int, working: WorkingImage, *, with_neighbours: bool = True
) -> Click:
    """Return one prompt in the working frame, moved into the image, with the other clicks or without."""
    others = np.delete(np.arange(prompts.num_prompts), index) if with_neighbours else np.zeros(0, np.int64)
    return Click(
        xy=inside_image(prompts.xy[index] * working.scale, working),
        neighbours=prompts.xy[others] * working.scale,
        same_class=prompts.labels[others] == prompts.labels[index],
    )


def inside_image(xy: Float[ndarray, " 2"], working: WorkingImage) -> Float[ndarray, " 2"]:
    """Return a point of the working frame, moved to the image's rim if it is off it."""
    return np.clip(xy, 0.0, np.array(working.size[::-1]) - 1e-3)
