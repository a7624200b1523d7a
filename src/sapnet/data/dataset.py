"""Datasets indexed by image. Nothing decoded is kept, so memory does not grow with the images.

A training sample is a function of (seed, epoch, image id) and of the image's own clicks and
proposals; neither the order of the images nor the worker nor the rest of the batch matters.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.utils.data import Dataset

from sapnet.data.bags import bags_of_image
from sapnet.data.feature_files import FeatureFiles
from sapnet.data.images import read_image
from sapnet.data.transforms import Geometry, input_size, move_image, move_points, normalise
from sapnet.errors import DataError
from sapnet.structures import PointPrompts, ProposalBags

if TYPE_CHECKING:
    from sapnet.data.annotations import PointSet
    from sapnet.proposals.proposer import ImageProposals


class BagSource(Protocol):
    """Whatever gives the proposals of one image: a proposal store."""

    def of_image(self, image_id: int) -> ImageProposals:
        """Return the proposals of an image in the original frame."""
        ...


@dataclass(frozen=True)
class Sample:
    """One image with its clicks and bags, in its own input frame; ``image_index`` is all zero."""

    image: Float[Tensor, "3 H W"]
    """Normalised, not padded; all 0 where ``features`` stand for it."""
    prompts: PointPrompts
    bags: ProposalBags
    background_draws: Float[Tensor, "R 4"]
    part_draws: Float[Tensor, "G S 4"]
    image_id: int
    file_name: str
    view: str | None = None
    """Under which name the features of this view may be kept."""
    features: tuple[Float[Tensor, "_ _ _"], ...] | None = None
    """Kept features of this view."""


class TrainingDataset(Dataset[Sample]):
    """Images with their clicks and proposals, for training and for labelling.

    Args:
        points: The clicks.
        images_dir: Folder of the images.
        store: Gives the proposals of one image; only images with clicks are asked for.
        short_sides: Short sides in input pixels; one is drawn per image and epoch in training,
            the first is used otherwise.
        max_long_side: The long side never exceeds this many input pixels.
        flip_probability: Probability of a horizontal flip in training.
        mask_stride: Input pixels per cell of the mask grid.
        max_proposals: Proposals kept per click, best proposer score first.
        num_background: R, uniform draws of four numbers per image.
        num_parts: S, uniform draws of four numbers per click.
        mean: Channel means of images scaled to [0, 1].
        std: Channel deviations.
        seed: Seed of every draw.
        training: Draw sizes and flips; otherwise the sample depends on nothing but the image.
        mirrored: Mirror every image where nothing is drawn.
    """

    def __init__(
        self,
        points: PointSet,
        images_dir: str | os.PathLike[str],
        store: BagSource,
        *,
        short_sides: Sequence[int],
        max_long_side: int,
        flip_probability: float,
        mask_stride: int,
        max_proposals: int,
        num_background: int,
        num_parts: int,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
        training: bool,
        mirrored: bool = False,
    ) -> None:
        self.points = points
        self.images_dir = Path(images_dir)
        self.store = store
        self.short_sides = tuple(short_sides)
        self.max_long_side = max_long_side
        self.flip_probability = flip_probability
        self.mask_stride = mask_stride
        self.max_proposals = max_proposals
        self.num_background = num_background
        self.num_parts = num_parts
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.seed = seed
        self.training = training
        self.mirrored = mirrored
        self.feature_files: FeatureFiles | None = None
        """Where features are looked up before an image is read."""
        # Shared, so that workers that outlive an epoch see the new one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        if len(points.images):
            points.rows_of(0)  # Builds its index once here rather than in every worker.

    def __len__(self) -> int:
        return len(self.points.images)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the draws belong to, also in running workers."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> Sample:
        """Return the sample of the image in row ``index``.

        Raises:
            DataError: The image cannot be read, has another size than the points file says, or the
                proposals were made at another size; the file is named.
        """
        table = self.points.images
        image_id, file_name = int(table.ids[index]), table.file_names[index]
        clicks = self.points.of_image(index)
        generator = image_generator(self.seed, int(self._epoch), image_id)
        geometry = self._geometry(table.size(index), generator)
        view, features = self._kept(self.images_dir / file_name, geometry)
        image = self._pixels(index, geometry) if features is None else _no_pixels(geometry)
        background = torch.rand((self.num_background, 4), generator=generator)
        parts = torch.rand((len(clicks.xy), self.num_parts, 4), generator=generator)
        bags = bags_of_image(
            self.store.of_image(image_id) if len(clicks.xy) else None,
            clicks,
            geometry,
            mask_stride=self.mask_stride,
            max_proposals=self.max_proposals,
            file_name=file_name,
        )
        return Sample(
            image=image,
            prompts=PointPrompts(
                xy=move_points(clicks.xy, geometry),
                labels=torch.from_numpy(clicks.labels),
                image_index=torch.zeros(len(clicks.xy), dtype=torch.int64),
                annotation_ids=torch.from_numpy(clicks.annotation_ids),
            ),
            bags=bags,
            background_draws=background,
            part_draws=parts,
            image_id=image_id,
            file_name=file_name,
            view=view,
            features=features,
        )

    def _pixels(self, index: int, geometry: Geometry) -> Tensor:
        table = self.points.images
        file_name, size = table.file_names[index], geometry.original_size
        path = self.images_dir / file_name
        image = read_image(path)
        if image.shape[:2] != size:
            problem = _size_problem(file_name, int(table.ids[index]), image.shape[:2], size)
            raise DataError(str(path), [problem])
        return normalise(move_image(image, geometry), mean=self.mean, std=self.std)

    def _kept(self, path: Path, geometry: Geometry) -> tuple[str | None, tuple[Tensor, ...] | None]:
        """Name and kept features of a view, as far as there are any."""
        if self.feature_files is None:
            return None, None
        view = self.feature_files.view_name(path, geometry)
        return view, None if view is None else self.feature_files.read(view)

    def _geometry(self, size: tuple[int, int], generator: torch.Generator) -> Geometry:
        choice, coin = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        short_side = self.short_sides[int(choice * len(self.short_sides)) if self.training else 0]
        return Geometry(
            size,
            input_size(size, short_side=short_side, max_long_side=self.max_long_side),
            flipped=coin < self.flip_probability if self.training else self.mirrored,
        )


@dataclass(frozen=True)
class PlainImage:
    """One image without annotations, resized and normalised, with its way back."""

    image: Float[Tensor, "3 H W"]
    geometry: Geometry
    path: Path


class PredictionDataset(Dataset[PlainImage]):
    """Plain image files for prediction.

    Args:
        paths: The image files.
        short_side: Short side in input pixels.
        max_long_side: The long side never exceeds this many input pixels.
        mean: Channel means of images scaled to [0, 1].
        std: Channel deviations.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        short_side: int,
        max_long_side: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self.paths = [Path(path) for path in paths]
        self.short_side = short_side
        self.max_long_side = max_long_side
        self.mean = tuple(mean)
        self.std = tuple(std)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> PlainImage:
        """Return one image.

        Raises:
            DataError: It cannot be read; the file is named.
        """
        return self.prepare(read_image(self.paths[index]), self.paths[index])

    def prepare(self, image: UInt8[ndarray, "H W 3"], path: Path) -> PlainImage:
        """Resize and normalise an image that has been read.

        Args:
            image: RGB, as a person sees it.
            path: What to call it.
        """
        size = (image.shape[0], image.shape[1])
        geometry = Geometry(
            size, input_size(size, short_side=self.short_side, max_long_side=self.max_long_side)
        )
        moved = normalise(move_image(image, geometry), mean=self.mean, std=self.std)
        return PlainImage(moved, geometry, path)


def image_generator(seed: int, epoch: int, image_id: int) -> torch.Generator:
    """Return the random generator of one image in one epoch."""
    key = hashlib.blake2b(f"{seed}/{epoch}/{image_id}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)


def _no_pixels(geometry: Geometry) -> Tensor:
    return torch.zeros(()).expand(3, *geometry.input_size)


def _size_problem(file_name: str, image_id: int, found: tuple[int, ...], expected: tuple[int, int]) -> str:
    return (
        f"{file_name} (image id {image_id}): is {found[1]} x {found[0]} pixels (width x height, after EXIF "
        f"rotation), but the points file says {expected[1]} x {expected[0]}"
    )
