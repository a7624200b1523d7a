"""Putting samples together into a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from sapnet.data.dataset import Sample
from sapnet.structures import Batch, PointPrompts, ProposalBags


def collate(samples: Sequence[Sample], *, size_divisor: int, mask_stride: int) -> Batch:
    """Pad images at the right and the bottom, concatenate prompts, pad bags.

    Args:
        samples: One per image; their order is kept.
        size_divisor: Padded sizes are multiples of this; itself a multiple of ``mask_stride``.
        mask_stride: Input pixels per cell of the mask grids.

    Returns:
        A batch whose masks have a canvas of (padded size / mask_stride) cells. M is that of the
        longest bag, at least one; G is 0 if no image has a click.

    Raises:
        ValueError: There are no samples, or the divisor does not fit the stride.
    """
    if not samples:
        raise ValueError("a batch needs at least one sample")
    if size_divisor % mask_stride:
        raise ValueError(f"size_divisor {size_divisor} is no multiple of mask_stride {mask_stride}")
    images, sizes = pad_images([sample.image for sample in samples], size_divisor=size_divisor)
    canvas = (images.shape[-2] // mask_stride, images.shape[-1] // mask_stride)
    counts = torch.tensor([len(sample.prompts.xy) for sample in samples])
    return Batch(
        images=images,
        image_sizes=sizes,
        prompts=PointPrompts(
            xy=torch.cat([sample.prompts.xy for sample in samples]),
            labels=torch.cat([sample.prompts.labels for sample in samples]),
            image_index=torch.repeat_interleave(torch.arange(len(samples)), counts),
            annotation_ids=torch.cat([sample.prompts.annotation_ids for sample in samples]),
        ),
        bags=_join_bags([sample.bags for sample in samples], canvas),
        background_draws=torch.stack([sample.background_draws for sample in samples]),
        part_draws=torch.cat([sample.part_draws for sample in samples]),
        image_ids=tuple(sample.image_id for sample in samples),
        file_names=tuple(sample.file_name for sample in samples),
        size_divisor=size_divisor,
        views=tuple(sample.view for sample in samples),
        features=tuple(sample.features for sample in samples),
    )


def pad_images(
    images: Sequence[Float[Tensor, "3 h w"]], *, size_divisor: int
) -> tuple[Float[Tensor, "B 3 H W"], Int[Tensor, "B 2"]]:
    """Pad images with zeros to their common size, rounded up.

    Args:
        images: Normalised images of any sizes.
        size_divisor: The padded sides are multiples of this.

    Returns:
        The padded images, and the ``(height, width)`` of each before padding.
    """
    sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.int64)
    height, width = (-(-int(side) // size_divisor) * size_divisor for side in sizes.amax(dim=0))
    padded = images[0].new_zeros((len(images), 3, height, width))
    for target, image in zip(padded, images, strict=True):
        target[:, : image.shape[1], : image.shape[2]] = image
    return padded, sizes


def on_canvas(batch: Batch, size: tuple[int, int]) -> Batch:
    """Pad a batch further, so that it is what it would be beside larger images.

    Args:
        batch: Of ``collate``.
        size: ``(height, width)`` of the padded images in input pixels, multiples of ``size_divisor``, at
            least as large as the batch's.

    Returns:
        The batch on a canvas of that size.

    Raises:
        ValueError: The size is no such size.
    """
    height, width = batch.images.shape[-2:]
    if size == (height, width):
        return batch
    if size[0] < height or size[1] < width or any(side % batch.size_divisor for side in size):
        raise ValueError(f"no canvas of {size} for {(height, width)} in steps of {batch.size_divisor}")
    stride = height // batch.bags.masks.shape[-2]
    masks = _padded(batch.bags.masks, (size[0] // stride, size[1] // stride))
    return replace(batch, images=_padded(batch.images, size), bags=replace(batch.bags, masks=masks))


def _join_bags(bags: Sequence[ProposalBags], canvas: tuple[int, int]) -> ProposalBags:
    longest = max(item.valid.shape[1] if len(item.valid) else 1 for item in bags)

    def join(name: str, extend: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([extend(_slots(getattr(item, name), longest)) for item in bags])

    def widened(masks: Tensor) -> Tensor:
        return _padded(masks, canvas)

    def unchanged(values: Tensor) -> Tensor:
        return values

    return ProposalBags(
        **{
            field.name: join(field.name, widened if field.name == "masks" else unchanged)
            for field in fields(ProposalBags)
        }
    )


def _padded(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Pad the last two axes at their ends with zeros."""
    return pad(maps, (0, size[1] - maps.shape[-1], 0, size[0] - maps.shape[-2]))


def _slots(values: Tensor, length: int) -> Tensor:
    """Return a copy with exactly ``length`` slots on the second axis; new slots are zero."""
    longer = values.new_zeros((values.shape[0], length, *values.shape[2:]))
    used = min(length, values.shape[1])
    longer[:, :used] = values[:, :used]
    return longer
