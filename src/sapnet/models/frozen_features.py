"""Features of a backbone that no training changes: computed per image, and perhaps kept.

Each image goes through the network alone, on its own canvas, so its features do not depend on what else is
in its batch; a batch pads the maps with zeros instead of the images. At inference an image is always alone
on its canvas: what a branch is trained on is then, in the place of the picture, what it meets there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from sapnet.models.backbone import Backbone
from sapnet.models.weights import add_weights
from sapnet.structures import Batch

_VERSION = 1
"""Counts changes of the way from an image file to its features in this package."""
_LIBRARIES = ("torch", "torchvision", "timm", "pillow")
"""Libraries on that way."""


class FeatureKeeper(Protocol):
    """Whatever keeps the features of a view."""

    def write(self, view: str, maps: Sequence[Float[Tensor, "_ _ _"]]) -> None:
        """Keep all maps of a view."""
        ...


@torch.no_grad()
def frozen_features(
    backbone: Backbone, batch: Batch, *, first: int, keeper: FeatureKeeper | None = None
) -> tuple[Float[Tensor, "B _ _ _"], ...]:
    """Return the features of a wholly frozen backbone.

    Args:
        backbone: The network.
        batch: Images, or kept features in their place.
        first: Stages before this one are not needed.
        keeper: Told the features that had to be computed of a view with a name.

    Returns:
        The maps of the stages from ``first`` on, one map per stage for the whole batch and its canvas, zero
        where an image's own canvas ends. float32, whatever the precision of the rest.

    Raises:
        ValueError: A batch has kept features, but not of a stage that is needed.
    """
    alone = [
        _of_image(backbone, batch, image, first=first, keeper=keeper) for image in range(len(batch.images))
    ]
    # The canvas may be larger than the batch's images need: several processes share one.
    canvas, device = batch.images.shape[-2:], batch.images.device
    return tuple(
        _padded(maps, (canvas[0] // stride, canvas[1] // stride), device)
        for maps, stride in zip(zip(*alone, strict=True), backbone.strides[first:], strict=True)
    )


def features_digest(
    backbone: Backbone, *, mean: Sequence[float], std: Sequence[float], size_divisor: int
) -> str:
    """Return a digest of what the features of a view of an image follow from, but for the view.

    To the bit they also depend on the processor and on the libraries that torch computes with, which are not
    told apart: features are for the machine that computed them.

    Args:
        backbone: The network, on the device where it computes.
        mean: Channel means by which images are normalised.
        std: Channel deviations.
        size_divisor: An image's own canvas is padded to multiples of this many input pixels.
    """
    versions = [f"{name} {version(name)}" for name in _LIBRARIES]
    state = backbone.network.state_dict()
    device = next(iter(state.values())).device.type
    # The text of the network tells apart what has the same weights: paddings, strides, epsilons.
    told = [_VERSION, versions, device, tuple(mean), tuple(std), size_divisor, repr(backbone.network)]
    if device == "cpu":
        told.append(torch.get_num_threads())  # sums are split among threads, so their last bits differ
    digest = hashlib.sha256(repr(told).encode())
    add_weights(digest, state)
    return digest.hexdigest()[:16]


def _of_image(
    backbone: Backbone, batch: Batch, image: int, *, first: int, keeper: FeatureKeeper | None
) -> tuple[Tensor, ...]:
    kept = batch.features[image] if batch.features else None
    needed = len(backbone.strides) - first
    if kept is not None:
        if len(kept) < needed:
            raise ValueError(f"{len(kept)} stages are kept of an image, but {needed} are needed")
        return tuple(kept[len(kept) - needed :])
    height, width = (
        -(-int(side) // batch.size_divisor) * batch.size_divisor for side in batch.image_sizes[image]
    )
    with torch.autocast(batch.images.device.type, enabled=False):
        maps = tuple(stage[0] for stage in backbone(batch.images[image : image + 1, :, :height, :width]))
    view = batch.views[image] if batch.views else None
    if keeper is not None and view is not None:
        keeper.write(view, maps)
    return maps[first:]


def _padded(maps: Sequence[Tensor], size: tuple[int, int], device: torch.device) -> Tensor:
    """One map for the batch, channels innermost as the backbone leaves them, computed or kept."""
    rows = torch.zeros(len(maps), *size, maps[0].shape[0], device=device)
    for target, item in zip(rows, maps, strict=True):
        target[: item.shape[1], : item.shape[2]] = item.permute(1, 2, 0)
    return rows.permute(0, 3, 1, 2)
