"""Pictures of the report: JPEG data URIs under a common limit of bytes."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from sapnet.data.images import read_image
from sapnet.data.rle import mask_box
from sapnet.errors import DataError
from sapnet.report.markup import Markup, tag
from sapnet.visualize import Color, draw_click, draw_mask

PICK_COLOR: Color = (46, 128, 240)
TOP_SCORE_COLOR: Color = (240, 140, 30)
TRUTH_COLOR: Color = (40, 175, 95)
PROPOSAL_COLOR: Color = (170, 95, 235)

MAX_PICTURE_BYTES = 6_500_000
"""All pictures of a report together, as text; keeps the file below 8 MB."""

_KEPT_IMAGES = 4


class Album:
    """Makes pictures until the limit of bytes is reached.

    Attributes:
        left_out: How many pictures were not made because the limit was reached.
    """

    def __init__(self, limit: int = MAX_PICTURE_BYTES) -> None:
        self.left_out = 0
        self._left = limit
        self._images: OrderedDict[Path, ndarray | None] = OrderedDict()

    def read(self, path: Path) -> ndarray | None:
        """Return an image as uint8 RGB, None where it cannot be read; the last few are kept."""
        if path not in self._images:
            try:
                self._images[path] = read_image(path)
            except DataError:
                self._images[path] = None
            if len(self._images) > _KEPT_IMAGES:
                self._images.popitem(last=False)
        self._images.move_to_end(path)
        return self._images[path]

    def picture(
        self, image: UInt8[ndarray, "H W 3"], words: str, *, long_side: int | None = None, quality: int = 74
    ) -> Markup:
        """Return an ``img`` element.

        Args:
            image: RGB.
            words: What it shows, for those who do not see it.
            long_side: Larger images are reduced to this many pixels.
            quality: JPEG quality.

        Returns:
            The element, or a short note in its place when the limit of bytes is reached.
        """
        height, width = image.shape[:2]
        scale = 1.0 if long_side is None else min(1.0, long_side / max(height, width))
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        bgr = np.ascontiguousarray(image[..., ::-1])
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        data = base64.b64encode(encoded.tobytes()).decode("ascii")
        if len(data) > self._left:
            self.left_out += 1
            return tag("p", "picture left out", class_="note")
        self._left -= len(data)
        return tag(
            "img",
            src=f"data:image/jpeg;base64,{data}",
            alt=words,
            width=image.shape[1],
            height=image.shape[0],
            loading="lazy",
        )


def crop_around(
    boxes: Sequence[Sequence[float]] | Float[ndarray, "n 4"], size: tuple[int, int], *, least: int = 48
) -> tuple[slice, slice]:
    """Return the rows and columns of a crop, not far from square, that shows all boxes with a margin.

    Args:
        boxes: ``xyxy`` boxes in pixels, at least one.
        size: ``(height, width)`` of the image.
        least: Smallest side of the crop in pixels, where the image allows.
    """
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    low, high = array[:, :2].min(axis=0), array[:, 2:].max(axis=0)
    sides = np.maximum((high - low) * 1.35, least)
    sides = np.maximum(sides, sides.max() * 0.75)
    limits = np.array([size[1], size[0]], dtype=np.float64)
    sides = np.minimum(sides, limits)
    start = np.clip((low + high) / 2 - sides / 2, 0, limits - sides).astype(int)
    stop = np.minimum(start + np.ceil(sides).astype(int), limits.astype(int))
    return slice(int(start[1]), int(stop[1])), slice(int(start[0]), int(stop[0]))


def object_window(
    masks: Sequence[bytes], click: Sequence[float] | None, size: tuple[int, int]
) -> tuple[slice, slice]:
    """Return a crop around an object; masks far larger than the first are cut off.

    Args:
        masks: Compressed run lengths; the first says how large the object is.
        click: ``(x, y)`` in pixels, or None.
        size: ``(height, width)`` of the image.
    """
    boxes = mask_box(masks, size) if masks else np.zeros((0, 4))
    boxes = boxes[boxes[:, 2] > boxes[:, 0]]
    if click is not None:
        x, y = click
        boxes = np.concatenate([boxes, [[x - 8, y - 8, x + 8, y + 8]]])
    if not len(boxes):
        return slice(0, size[0]), slice(0, size[1])
    reach = 1.5 * max(16.0, float((boxes[0, 2:] - boxes[0, :2]).max()))
    low, high = boxes[0, :2] - reach, boxes[0, 2:] + reach
    boxes[:, :2], boxes[:, 2:] = np.maximum(boxes[:, :2], low), np.minimum(boxes[:, 2:], high)
    return crop_around(boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)], size)


def panel(
    image: UInt8[ndarray, "H W 3"],
    window: tuple[slice, slice],
    *,
    mask: Bool[ndarray, "H W"] | None = None,
    color: Color = PROPOSAL_COLOR,
    click: Sequence[float] | None = None,
    side: int = 200,
) -> UInt8[ndarray, "h w 3"]:
    """Return a crop scaled to ``side`` pixels with a mask and a click drawn on it.

    Drawing comes after scaling, so that outlines are equally thick on every crop.
    """
    part = image[window]
    scale = side / max(part.shape[:2])
    shape = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    drawn = cv2.resize(part, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if mask is not None:
        shrunk = cv2.resize(mask[window].astype(np.uint8), shape, interpolation=cv2.INTER_NEAREST)
        drawn = draw_mask(drawn, shrunk.astype(bool), color, opacity=0.4)
    if click is not None:
        place = ((click[0] - window[1].start) * scale, (click[1] - window[0].start) * scale)
        drawn = draw_click(drawn, place)
    return drawn
