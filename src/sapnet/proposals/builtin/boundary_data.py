"""Crops of BSDS500 and of photographs with object masks, to train the boundary network on.

Every draw depends on (seed, number of the sample) alone, so that a resumed training sees what an
uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from sapnet.data.annotations import InstanceSet
from sapnet.data.images import read_image
from sapnet.data.rle import decode_masks
from sapnet.errors import DataError
from sapnet.proposals.builtin.boundary_targets import Targets, annotator_share, object_targets, region_targets

_LEAST_SCALE, _LARGEST_SCALE = 0.6, 1.8
_BRIGHTNESS, _CONTRAST, _TINT = 25.0, 0.25, 0.08
"""Largest change of grey levels, and of the gain of all and of single channels."""
_HIDING = np.ones((5, 5), dtype=np.uint8)
_KEPT_IN_MEMORY = 512


@dataclass(frozen=True)
class Sample:
    """One training crop."""

    image: UInt8[ndarray, "S S 3"]
    targets: Targets


@dataclass(frozen=True)
class RegionPhotograph:
    """One photograph of BSDS500."""

    image: Path
    segmentations: tuple[Path, ...]
    """A label map per annotator, PNG."""


@dataclass(frozen=True)
class ObjectPhotograph:
    """One photograph with object masks."""

    image: Path
    counts: tuple[bytes, ...]
    """Run lengths of the objects."""
    unusable: tuple[bytes, ...]
    """Run lengths of crowds."""
    complete: bool
    """Whether all objects of the photograph are labelled."""


def region_photographs(folders: Sequence[Path]) -> list[RegionPhotograph]:
    """List the photographs of folders with ``NAME.jpg`` and ``NAME.seg0.png``, ``NAME.seg1.png``, ...

    Raises:
        DataError: A folder has no such files, or a photograph no segments; all are listed.
    """
    found, problems = [], []
    for folder in folders:
        images = sorted(folder.glob("*.jpg"))
        if not images:
            problems.append(f"{folder}: expected photographs NAME.jpg with NAME.seg0.png, ...; found none")
        for image in images:
            segmentations = tuple(sorted(folder.glob(f"{image.stem}.seg*.png")))
            if not segmentations:
                problems.append(f"{image}: there is no {image.stem}.seg0.png beside it")
            found.append(RegionPhotograph(image, segmentations))
    if problems:
        raise DataError("the boundary photographs", problems)
    return found


def object_photographs(
    instances: InstanceSet, images_dir: Path, complete: Bool[ndarray, " I"]
) -> list[ObjectPhotograph]:
    """List the photographs of an instances file.

    Args:
        instances: Masks of the objects.
        images_dir: Folder of the photographs.
        complete: Which photographs have all their objects labelled.
    """
    photographs = []
    for index in range(len(instances.images)):
        rows = instances.rows_of(index)
        unusable = instances.iscrowd[rows] | instances.ignore[rows]
        photographs.append(
            ObjectPhotograph(
                images_dir / instances.images.file_names[index],
                tuple(instances.counts.take(rows[~unusable].tolist())),
                tuple(instances.counts.take(rows[unusable].tolist())),
                bool(complete[index]),
            )
        )
    return photographs


Photograph = TypeVar("Photograph", bound=RegionPhotograph | ObjectPhotograph)


class PhotographPools(Generic[Photograph]):
    """Photographs to draw from.

    Args:
        pools: The photographs of each pool.
        shares: How often a photograph comes from each pool; only their ratios count.
    """

    def __init__(self, pools: Sequence[Sequence[Photograph]], shares: Sequence[float]) -> None:
        self._pools = [list(pool) for pool in pools]
        self._cumulative = np.cumsum(shares)

    def draw(self, rng: np.random.Generator) -> Photograph:
        """Return a photograph: first its pool is drawn, then one in it, evenly."""
        draw = rng.uniform() * self._cumulative[-1]
        pool = self._pools[int(np.searchsorted(self._cumulative, draw, side="right"))]
        return pool[int(rng.integers(len(pool)))]


class BoundaryCrops:
    """Draws training crops from several pools of photographs.

    Args:
        pools: The photographs of each pool.
        shares: How often a crop comes from each pool; they add up to 1.
        side: Pixels per side of a crop, a multiple of 32.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        pools: Sequence[Sequence[RegionPhotograph | ObjectPhotograph]],
        shares: Sequence[float],
        *,
        side: int,
        seed: int,
    ) -> None:
        self._pools = PhotographPools(pools, shares)
        self._side = side
        self._seed = seed

    def __getitem__(self, number: int) -> Sample:
        """Return the crop of a running number; any number not below 0 has one."""
        rng = np.random.default_rng([self._seed, number])
        photograph = self._pools.draw(rng)
        if isinstance(photograph, RegionPhotograph):
            image, share = _read_region(photograph)
            view = View.draw(image.shape[:2], self._side, rng, focus=None, always=False)
            targets = region_targets(view.apply(share, cv2.INTER_LINEAR, outside=0.0))
        else:
            image, masks, unusable = read_objects(photograph)
            view = View.draw(
                image.shape[:2],
                self._side,
                rng,
                focus=some_pixel(masks, rng),
                always=not photograph.complete,
            )
            targets = self._object_targets(masks, unusable, view, complete=photograph.complete)
        pixels = view.apply(image, view.interpolation, outside=None)
        return Sample(recolored(pixels, rng), targets)

    def _object_targets(self, masks: ndarray, unusable: ndarray, view: View, *, complete: bool) -> Targets:
        seen = [view.apply(mask.astype(np.float32), cv2.INTER_LINEAR, outside=0.0) > 0.5 for mask in masks]
        stack = np.asarray(seen, dtype=bool).reshape(-1, self._side, self._side)
        stack = stack[stack.any((1, 2))]
        # Grown a little, for the rim of the photograph is no border of the object that it cuts.
        hidden = cv2.dilate(view.apply(unusable.astype(np.float32), cv2.INTER_LINEAR, outside=1.0), _HIDING)
        return object_targets(stack, hidden > 0.5, complete=complete)


@dataclass(frozen=True)
class View:
    """A scaled, maybe mirrored window onto a photograph."""

    scale: float
    left: int
    top: int
    mirrored: bool
    side: int

    @classmethod
    def draw(
        cls,
        size: tuple[int, int],
        side: int,
        rng: np.random.Generator,
        *,
        focus: ndarray | None,
        always: bool,
    ) -> View:
        """Draw a view; a focus (x, y) is in the window always, or else three times out of four."""
        scale = float(np.exp(rng.uniform(np.log(_LEAST_SCALE), np.log(_LARGEST_SCALE))))
        scaled = np.array([max(round(size[1] * scale), 1), max(round(size[0] * scale), 1)])
        room = np.maximum(scaled - side, 0)
        corner = rng.integers(0, room + 1)
        shift = rng.uniform(0.1, 0.9, 2) * side
        if focus is not None and (always or rng.uniform() < 0.75):
            corner = np.clip((focus * scale - shift).astype(int), 0, room)
        return cls(scale, int(corner[0]), int(corner[1]), bool(rng.uniform() < 0.5), side)

    @property
    def interpolation(self) -> int:
        """How OpenCV scales an image, or smooth shares, to this view."""
        return cv2.INTER_AREA if self.scale < 1.0 else cv2.INTER_LINEAR

    def apply(self, values: ndarray, interpolation: int, *, outside: float | None) -> ndarray:
        """Return the window of an image or a map; beyond it a constant, or the rim where None."""
        height, width = values.shape[:2]
        size = (max(round(width * self.scale), 1), max(round(height * self.scale), 1))
        scaled = cv2.resize(values, size, interpolation=interpolation)
        window = scaled[self.top : self.top + self.side, self.left : self.left + self.side]
        missing = (self.side - window.shape[0], self.side - window.shape[1])
        if max(missing) > 0:
            mode = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
            window = cv2.copyMakeBorder(window, 0, missing[0], 0, missing[1], mode, value=outside or 0.0)
        return np.ascontiguousarray(window[:, ::-1] if self.mirrored else window)


def read_objects(
    photograph: ObjectPhotograph,
) -> tuple[UInt8[ndarray, "H W 3"], Bool[ndarray, "n H W"], Bool[ndarray, "H W"]]:
    """Return a photograph, the masks of its objects, and the pixels of which nothing is known."""
    image = read_image(photograph.image)
    size = image.shape[:2]
    unusable = np.asarray(decode_masks(photograph.unusable, size).any(0))
    return image, decode_masks(photograph.counts, size), unusable


@lru_cache(maxsize=_KEPT_IN_MEMORY)
def _read_region(photograph: RegionPhotograph) -> tuple[ndarray, Float[ndarray, "H W"]]:
    image = read_image(photograph.image)
    labels = [read_labels(path, image.shape[:2]) for path in photograph.segmentations]
    return image, annotator_share(labels)


def read_labels(path: Path, size: tuple[int, ...]) -> Int[ndarray, "H W"]:
    """Return an annotator's label map.

    Raises:
        DataError: The file cannot be read or is not of the photograph's size.
    """
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.shape != size:
        found = "no readable PNG file" if labels is None else f"of shape {labels.shape}"
        raise DataError(str(path), [f"expected a label map of the photograph's shape {size}; it is {found}"])
    return labels


def some_pixel(masks: Bool[ndarray, "n h w"], rng: np.random.Generator) -> Float[ndarray, " 2"] | None:
    """Return the (x, y) of a pixel of one of the masks, if there are any."""
    filled = np.flatnonzero(masks[int(rng.integers(len(masks)))]) if len(masks) else np.zeros(0)
    if not len(filled):
        return None
    row, column = divmod(int(filled[int(rng.integers(len(filled)))]), masks.shape[2])
    return np.array([column, row], dtype=np.float64)


def recolored(image: UInt8[ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[ndarray, "h w 3"]:
    """Return an image with other brightness, contrast and tint."""
    gain = (1.0 + rng.uniform(-_CONTRAST, _CONTRAST)) * (1.0 + rng.uniform(-_TINT, _TINT, 3))
    shift = rng.uniform(-_BRIGHTNESS, _BRIGHTNESS)
    changed = (image.astype(np.float32) - 127.0) * gain.astype(np.float32) + np.float32(127.0 + shift)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)
