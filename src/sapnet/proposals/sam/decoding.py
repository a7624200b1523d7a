"""Encodes an image once and decodes any number of prompts of any shape in chunks.

The prompts that ``transformers`` decodes together must have equally many points. Filling up with its padding
label is no way out: the padding takes part in the decoder's attention and changes the masks. So prompts are
decoded in groups of equal shape, which gives the masks of one-by-one decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from sapnet.data.rle import encode_mask
from sapnet.errors import JobError
from sapnet.proposals.prompt_plan import PlannedPrompts
from sapnet.proposals.sam.loading import LoadedSam

_UPSAMPLED_VALUES = 16 * 2**20
"""Values of masks at the size of the image that are in memory at a time, per step of the upsampling."""


@dataclass(frozen=True)
class EncodedImage:
    """What the mask decoder needs of an image; computed once per image."""

    features: dict[str, Any]
    """Arguments of the model's call that stand for the image."""
    image_size: tuple[int, int]
    """``(height, width)`` in the original frame."""
    input_size: tuple[int, int]
    """``(height, width)`` of the image in the model's frame, without padding."""


@dataclass(frozen=True)
class DecodedMasks:
    """The masks of some prompts, sorted by prompt, then in the order of the model's outputs."""

    query: Int[ndarray, " n"]
    """Index of the prompt that each mask answers."""
    counts: tuple[bytes, ...]
    """Compressed run lengths at the size of the original image."""
    scores: Float[ndarray, " n"]
    """Predicted IoU, in [0, 1]."""


class _Group(NamedTuple):
    """Prompts with equally many points; points and boxes are in the model's frame."""

    query: Int[ndarray, " g"]
    points: Float[ndarray, "g p 2"]
    positive: Bool[ndarray, "g p"]
    boxes: Float[ndarray, "g 4"] | None


@torch.inference_mode()
def encode_image(sam: LoadedSam, image: UInt8[ndarray, "H W 3"]) -> EncodedImage:
    """Run the image encoder.

    Args:
        sam: The model.
        image: RGB, original frame.
    """
    inputs = sam.image_processor(images=image, return_tensors="pt", input_data_format="channels_last")
    pixels = inputs["pixel_values"].to(sam.device)
    with sam.computing():
        encoded = sam.model.get_image_embeddings(pixels)
    features = {"image_embeddings": encoded}
    if sam.family.has_early_features:
        features = {"image_embeddings": encoded[0], "intermediate_embeddings": encoded[1]}
    if sam.family.keeps_aspect:
        height, width = (int(side) for side in inputs["reshaped_input_sizes"][0])
    else:
        height, width = pixels.shape[-2:]
    return EncodedImage(features, (image.shape[0], image.shape[1]), (height, width))


@torch.inference_mode()
def decode_prompts(
    sam: LoadedSam, encoded: EncodedImage, planned: PlannedPrompts, *, multimask: bool, chunk_size: int
) -> DecodedMasks:
    """Decode prompts, at most ``chunk_size`` at a time, into run-length encoded masks.

    Args:
        sam: The model that encoded the image.
        encoded: The image.
        planned: The prompts, original frame.
        multimask: Three masks per prompt instead of one.
        chunk_size: Prompts per call of the mask decoder; memory grows with it, results do not depend on it
            beyond rounding.

    Raises:
        JobError: The model returned numbers that are not finite.
        ValueError: A prompt has neither points nor a box.
    """
    query: list[ndarray] = []
    scores: list[ndarray] = []
    counts: list[bytes] = []
    for group in _groups(planned, encoded):
        for start in range(0, len(group.query), chunk_size):
            rows = slice(start, start + chunk_size)
            logits, quality = _decode(sam, encoded, group, rows, multimask=multimask)
            counts += [encode_mask(mask) for mask in _full_size_masks(sam, encoded, logits.flatten(0, 1))]
            scores.append(quality.clamp(0.0, 1.0).cpu().numpy().reshape(-1))
            query.append(np.repeat(group.query[rows], quality.shape[1]))
    if not query:
        return DecodedMasks(np.zeros(0, dtype=np.int64), (), np.zeros(0, dtype=np.float32))
    order = np.argsort(np.concatenate(query), kind="stable")
    return DecodedMasks(
        query=np.concatenate(query)[order],
        counts=tuple(counts[i] for i in order.tolist()),
        scores=np.concatenate(scores)[order],
    )


def _groups(planned: PlannedPrompts, encoded: EncodedImage) -> Iterator[_Group]:
    """Yield the prompts in groups of equal shape, fewest points first, without box first."""
    height, width = encoded.image_size
    scale = np.array([encoded.input_size[1] / width, encoded.input_size[0] / height])
    number = np.bincount(planned.point_query, minlength=planned.num_queries)
    has_box = np.isfinite(planned.boxes).all(axis=1)
    if np.any((number == 0) & ~has_box):
        raise ValueError("a prompt has neither points nor a box")
    order = np.argsort(planned.point_query, kind="stable")
    first = np.cumsum(number) - number
    shapes = number * 2 + has_box
    for shape in np.unique(shapes).tolist():
        query = np.flatnonzero(shapes == shape)
        rows = order[first[query][:, None] + np.arange(shape // 2)]
        yield _Group(
            query=query,
            points=planned.point_xy[rows] * scale,
            positive=planned.point_positive[rows],
            boxes=planned.boxes[query] * np.tile(scale, 2) if shape % 2 else None,
        )


def _decode(
    sam: LoadedSam, encoded: EncodedImage, group: _Group, rows: slice, *, multimask: bool
) -> tuple[Float[Tensor, "g m h w"], Float[Tensor, "g m"]]:
    """Run the mask decoder on some prompts of a group; float32 mask logits and predicted IoU."""
    prompts: dict[str, Tensor] = {}
    if group.points.shape[1]:
        prompts["input_points"] = _on_device(group.points[rows], sam)[None]
        prompts["input_labels"] = torch.from_numpy(group.positive[rows].astype(np.int64)).to(sam.device)[None]
    if group.boxes is not None:
        prompts["input_boxes"] = _on_device(group.boxes[rows], sam)[None]
    with sam.computing():
        outputs = sam.model(**encoded.features, **prompts, multimask_output=multimask)
    logits, quality = outputs.pred_masks[0].float(), outputs.iou_scores[0].float()
    if not (torch.isfinite(logits).all() and torch.isfinite(quality).all()):
        advice = "" if sam.autocast_dtype is None else "; use precision bf16 or no"
        raise JobError(f"{sam.family.title} returned numbers that are not finite{advice}.")
    return logits, quality


def _on_device(array: ndarray, sam: LoadedSam) -> Tensor:
    return torch.from_numpy(array.astype(np.float32)).to(sam.device)


def _full_size_masks(
    sam: LoadedSam, encoded: EncodedImage, logits: Float[Tensor, "n h w"]
) -> Iterator[Bool[ndarray, "H W"]]:
    """Bring masks to the size of the original image as the family's processor does, a few at a time."""
    height, width = encoded.image_size
    largest = max(height * width, *logits.shape[1:])
    further: dict[str, Any] = {}
    if sam.family.keeps_aspect:
        further["reshaped_input_sizes"] = [encoded.input_size]
        padded = sam.image_processor.pad_size
        largest = max(largest, padded["height"] * padded["width"])
    step = max(1, _UPSAMPLED_VALUES // largest)
    for start in range(0, len(logits), step):
        masks = sam.image_processor.post_process_masks(
            [logits[start : start + step, None]],
            [encoded.image_size],
            mask_threshold=0.0,
            binarize=True,
            **further,
        )
        yield from masks[0][:, 0].cpu().numpy()
