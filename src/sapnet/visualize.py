"""Drawing of instances and clicks on images."""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from sapnet.data.rle import decode_masks, segmentation_to_counts

if TYPE_CHECKING:
    from sapnet.structures import Instances

Color = tuple[int, int, int]
Names = Mapping[int, str] | Sequence[str]

_GOLDEN_ANGLE = 0.618033988749895
_INK = (18, 18, 18)


def instance_color(index: int) -> Color:
    """Return the RGB colour of the ``index``-th instance; neighbours in the order differ clearly."""
    hue = (0.58 + index * _GOLDEN_ANGLE) % 1.0
    lightness = (0.55, 0.45, 0.65)[index % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_instances(
    image: UInt8[ndarray, "H W 3"],
    instances: Instances | Sequence[Mapping[str, Any]],
    names: Names = (),
    *,
    opacity: float = 0.45,
    min_score: float = 0.0,
    captions: bool = True,
) -> UInt8[ndarray, "H W 3"]:
    """Draw instances with filled masks, contours, class names and scores.

    The worst score is drawn first, so that the best lies on top.

    Args:
        image: RGB, in the frame of the masks.
        instances: Predicted ``Instances`` (labels 0..K-1), or COCO annotations or results, each with
            ``segmentation``, ``category_id`` and maybe ``score``.
        names: Class name by label (``Instances``) or by category id (COCO).
        opacity: Share of the colour inside a mask, 0 to 1.
        min_score: Instances with a lower score are not drawn; one without a score always is.
        captions: Write class name and score at the top-left corner of each mask.

    Returns:
        A new image of the same size.

    Raises:
        ValueError: A mask has another size than the image.
    """
    masks, labels, scores = _columns(instances, image.shape[:2])
    order = [row for row in _by_rising_score(scores) if not scores[row] < min_score]
    canvas = image.copy()
    for row in order:
        canvas = draw_mask(canvas, masks[row], instance_color(row), opacity=opacity)
    if not captions:
        return canvas
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(11, round(max(image.shape[:2]) / 45)))
    for row in order:
        if masks[row].any():
            score = "" if math.isnan(scores[row]) else f" {scores[row]:.2f}"
            _caption(
                pen, font, masks[row], f"{_name(names, labels[row])}{score}".strip(), instance_color(row)
            )
    return np.asarray(picture)


def draw_mask(
    image: UInt8[ndarray, "H W 3"], mask: Bool[ndarray, "H W"], color: Color, *, opacity: float = 0.45
) -> UInt8[ndarray, "H W 3"]:
    """Draw one mask: filled half-transparently and outlined.

    Args:
        image: RGB.
        mask: Of the image's size.
        color: RGB, 0 to 255.
        opacity: Share of the colour inside the mask, 0 to 1.

    Raises:
        ValueError: The mask has another size than the image.
    """
    if mask.shape != image.shape[:2]:
        raise ValueError(f"the mask is {mask.shape}, the image {image.shape[:2]}")
    canvas = image.copy()
    canvas[mask] = (image[mask] * (1 - opacity) + np.asarray(color) * opacity).round().astype(np.uint8)
    thickness = max(1, round(max(image.shape[:2]) / 300))
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, color, thickness, cv2.LINE_8)
    return canvas


def draw_click(
    image: UInt8[ndarray, "H W 3"],
    xy: Float[ndarray, " 2"] | Sequence[float],
    color: Color = (255, 60, 60),
    *,
    share: float = 1 / 60,
) -> UInt8[ndarray, "H W 3"]:
    """Draw a click as a ringed dot that shows on any background.

    Args:
        image: RGB.
        xy: (x, y) pixels, origin at the top-left corner of the top-left pixel.
        color: RGB of the dot.
        share: Radius of the dot as a share of the image's long side.
    """
    canvas = image.copy()
    center = (math.floor(xy[0]), math.floor(xy[1]))
    radius = max(1, round(max(image.shape[:2]) * share))
    for size, ink in ((radius + 2, _INK), (radius + 1, (255, 255, 255)), (radius, color)):
        cv2.circle(canvas, center, size, ink, -1, cv2.LINE_AA)
    return canvas


def _columns(
    instances: Instances | Sequence[Mapping[str, Any]], size: tuple[int, ...]
) -> tuple[ndarray, list[int], list[float]]:
    """Return masks (n, H, W), labels or category ids, and scores (nan: none)."""
    if isinstance(instances, Sequence):
        height, width = size
        counts = [segmentation_to_counts(item["segmentation"], (height, width)) for item in instances]
        scores = [item.get("score") for item in instances]
        return (
            decode_masks(counts, (height, width)),
            [int(item["category_id"]) for item in instances],
            [math.nan if score is None else float(score) for score in scores],
        )
    masks = np.asarray(instances.masks.cpu(), dtype=bool)
    if masks.shape[1:] != tuple(size):
        raise ValueError(f"the masks are {masks.shape[1:]}, the image {tuple(size)}")
    return masks, instances.labels.tolist(), instances.scores.tolist()


def _by_rising_score(scores: Sequence[float]) -> list[int]:
    """Order rows by score; of equal or unknown scores the earlier comes last."""
    return sorted(range(len(scores)), key=lambda row: (not math.isnan(scores[row]), scores[row], -row))


def _name(names: Names, label: int) -> str:
    if isinstance(names, Mapping):
        return names.get(label, str(label))
    return names[label] if 0 <= label < len(names) else str(label)


def _caption(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    mask: ndarray,
    words: str,
    color: Color,
) -> None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top, right, bottom = pen.textbbox((0, 0), words, font=font)
    width, height = right - left + 6, bottom - top + 4
    x = min(int(columns[0]), mask.shape[1] - width)
    y = min(int(rows[0]), mask.shape[0] - height)
    x, y = max(x, 0), max(y, 0)
    pen.rectangle((x, y, x + width, y + height), fill=color)
    pen.text((x + 3 - left, y + 2 - top), words, font=font, fill=(255, 255, 255) if _dark(color) else _INK)


def _dark(color: Color) -> bool:
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < 140


def encode_picture(image: UInt8[ndarray, "H W 3"], *, quality: int = 90) -> bytes:
    """Return an RGB picture as JPEG.

    Args:
        image: RGB.
        quality: JPEG quality.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
