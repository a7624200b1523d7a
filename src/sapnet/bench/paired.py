"""Paired differences between two rows: the same seeds and images, with a bootstrap interval over images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

LEVEL = 0.95
"""Share of the bootstrap means that the interval holds."""
_RESAMPLES = 10_000
_CHUNK = 1_000
"""Resamples at a time, which bounds memory with many images."""
_KEPT_VALUES = 2**23
"""Drawings of this many numbers at most (64 MB) are kept for the next difference."""


@dataclass(frozen=True)
class ImageSums:
    """Overlaps of the objects of each image, added up, of one row and seed."""

    image_ids: Int[ndarray, " n"]
    sums: Float[ndarray, " n"]
    """Sum of the mask IoU of the image's objects."""
    objects: Int[ndarray, " n"]

    @classmethod
    def of(cls, image_ids: Sequence[int], overlaps: Sequence[float]) -> ImageSums:
        """Add up the overlaps of the objects of every image.

        Args:
            image_ids: Image of each object.
            overlaps: IoU of each object.
        """
        ids, place = np.unique(np.asarray(image_ids, dtype=np.int64), return_inverse=True)
        weights = np.asarray(overlaps, dtype=np.float64)
        sums = np.bincount(place, weights=weights, minlength=len(ids))
        return cls(ids, sums, np.bincount(place, minlength=len(ids)))


@dataclass(frozen=True)
class PairedDifference:
    """How much a row is above another in mean IoU."""

    mean: float
    """Over the objects of all seeds."""
    spread: float
    """Sample deviation of the seeds' differences; 0 with one seed."""
    values: tuple[float, ...]
    """One difference per seed."""
    low: float
    high: float
    """Ends of the bootstrap interval."""
    images: int
    """Images that were compared, over all seeds counted once."""


def kept_image_sums(figures: Mapping[str, Any]) -> ImageSums:
    """Return the kept sums of the overlaps of every image.

    Args:
        figures: What ``bench.measuring.label_figures`` returned.
    """
    images = figures["images"]
    return ImageSums(
        np.asarray(images["image_id"], dtype=np.int64),
        np.asarray(images["overlap"], dtype=np.float64),
        np.asarray(images["objects"], dtype=np.int64),
    )


def paired_difference(
    ours: Mapping[int, ImageSums], theirs: Mapping[int, ImageSums], *, seed: int = 0
) -> PairedDifference | None:
    """Compare two rows on the seeds and images that both have.

    The mean is that over objects, so it is the difference of the rows' mean IoU. An image is drawn with
    its objects of all seeds, because they are not independent.

    Args:
        ours: Sums by seed of the row.
        theirs: Sums by seed of the row that it is compared with.
        seed: Seed of the bootstrap.

    Returns:
        The difference; None where no seed or no image is shared.
    """
    shared = [_difference(ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())]
    shared = [part for part in shared if len(part[0])]
    if not shared:
        return None
    ids, place = np.unique(np.concatenate([part[0] for part in shared]), return_inverse=True)
    gains = np.bincount(place, weights=np.concatenate([part[1] for part in shared]), minlength=len(ids))
    counts = np.bincount(place, weights=np.concatenate([part[2] for part in shared]), minlength=len(ids))
    low, high = bootstrap_interval(gains, counts, seed=seed)
    values = tuple(float(part[1].sum() / part[2].sum()) for part in shared)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return PairedDifference(float(gains.sum() / counts.sum()), spread, values, low, high, len(ids))


def bootstrap_interval(
    gains: Float[ndarray, " n"], counts: Float[ndarray, " n"], *, seed: int, resamples: int = _RESAMPLES
) -> tuple[float, float]:
    """Percentile interval of ``sum(gains) / sum(counts)`` where the n images are drawn with replacement.

    Args:
        gains: Summed differences of each image.
        counts: Number of differences in each sum, at least 1.
        seed: Seed of the draws.
        resamples: How often the images are drawn.

    Returns:
        Lower and upper end of the interval that holds ``LEVEL`` of the means.
    """
    means = [(drawn @ gains) / (drawn @ counts) for drawn in _drawings(len(gains), seed, resamples)]
    tail = (1.0 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail])
    return float(low), float(high)


def _drawings(images: int, seed: int, resamples: int) -> Iterable[Float[ndarray, "r n"]]:
    """How often every image was drawn, which is all that a mean over images needs."""
    many = images * resamples > _KEPT_VALUES
    return _draw(images, seed, resamples) if many else _kept_drawings(images, seed, resamples)


def _draw(images: int, seed: int, resamples: int) -> Iterator[Float[ndarray, "r n"]]:
    random, share = np.random.default_rng(seed), np.full(images, 1.0 / images)
    for start in range(0, resamples, _CHUNK):
        drawn = random.multinomial(images, share, size=min(_CHUNK, resamples - start))
        yield drawn.astype(np.float64)


@lru_cache(maxsize=2)
def _kept_drawings(images: int, seed: int, resamples: int) -> tuple[Float[ndarray, "r n"], ...]:
    """Differences of a table are mostly over the same images, and drawing takes nearly all of the time."""
    return tuple(_draw(images, seed, resamples))


def _difference(ours: ImageSums, theirs: ImageSums) -> tuple[ndarray, ndarray, ndarray]:
    """Ids, gains and counts of the images of both, as far as both judged the same objects."""
    ids, mine, other = np.intersect1d(ours.image_ids, theirs.image_ids, return_indices=True)
    same = ours.objects[mine] == theirs.objects[other]
    gains = ours.sums[mine] - theirs.sums[other]
    return ids[same], gains[same], ours.objects[mine][same]
