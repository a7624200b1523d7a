"""The masks of one image with what is known about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.data.rle import decode_masks

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageLabels:
    """The masks of one image, in pixels of the EXIF-transposed image."""

    image_id: int
    file_name: str
    size: tuple[int, int]
    """``(height, width)``."""
    ids: Int[ndarray, " n"]
    """Annotation ids; of labels those of the clicks."""
    counts: tuple[bytes, ...]
    """Each mask as compressed COCO run lengths."""
    boxes: Float[ndarray, "n 4"]
    """Tight boxes of the masks, ``xyxy``, half-open."""
    scores: Float[ndarray, " n"]
    """In [0, 1]; NaN where the file has none."""
    labels: Int[ndarray, " n"]
    """0..K-1."""
    class_names: tuple[str, ...]
    """Name of the class of every mask."""
    points: Float[ndarray, "n 2"]
    """The clicks ``(x, y)``; NaN where there are none, as in predictions."""

    @cached_property
    def masks(self) -> Bool[ndarray, "n H W"]:
        """The masks, decoded on first use."""
        return decode_masks(self.counts, self.size)

    def __len__(self) -> int:
        """Number of masks n."""
        return len(self.counts)

    def __repr__(self) -> str:
        height, width = self.size
        return f"<ImageLabels {self.file_name!r}: {len(self)} masks, {width} x {height} pixels>"

    def to_supervision(self) -> supervision.Detections:
        """Return the masks as ``supervision.Detections``.

        Returns:
            ``xyxy``, ``mask``, ``confidence`` (0 where a score is missing), ``class_id`` and, under
            ``data``, ``class_name`` and ``annotation_id``.

        Raises:
            MissingPackageError: supervision is not installed.
        """
        from sapnet.api.other_libraries import supervision_detections

        return supervision_detections(self)
