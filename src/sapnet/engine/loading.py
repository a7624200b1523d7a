"""The training loader: batches in worker processes, unreadable images reported or left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch.utils.data import DataLoader, Dataset

from sapnet.data.collate import collate
from sapnet.data.dataset import Sample, TrainingDataset
from sapnet.errors import DataError
from sapnet.structures import Batch


@dataclass(frozen=True)
class LoadedBatch:
    """A batch, and what could not be loaded for it."""

    batch: Batch | None
    """None if no image of the batch could be loaded."""
    problems: tuple[str, ...]


class _Tolerant(Dataset[Sample | DataError]):
    """Returns a data error instead of raising it in a worker, where its message would be buried."""

    def __init__(self, dataset: TrainingDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample | DataError:
        try:
            return self.dataset[index]
        except DataError as error:
            return error


def _collate(items: Sequence[Sample | DataError], *, size_divisor: int, mask_stride: int) -> LoadedBatch:
    samples = [item for item in items if isinstance(item, Sample)]
    problems = [problem for item in items if isinstance(item, DataError) for problem in item.problems]
    batch = collate(samples, size_divisor=size_divisor, mask_stride=mask_stride) if samples else None
    return LoadedBatch(batch=batch, problems=tuple(problems))


def batch_loader(
    dataset: TrainingDataset,
    batches: Sequence[Sequence[int]],
    *,
    size_divisor: int,
    mask_stride: int,
    num_workers: int,
    pin_memory: bool = False,
) -> DataLoader[LoadedBatch]:
    """Load given batches in order.

    Args:
        dataset: Samples by image row.
        batches: Image rows of every batch.
        size_divisor: Padded sizes are multiples of this.
        mask_stride: Input pixels per mask cell.
        num_workers: Loader processes.
        pin_memory: Page-locked tensors, for CUDA.

    Returns:
        An iterable of ``LoadedBatch``.
    """
    return DataLoader(
        _Tolerant(dataset),
        batch_sampler=list(batches),
        num_workers=num_workers,
        collate_fn=partial(_collate, size_divisor=size_divisor, mask_stride=mask_stride),
        pin_memory=pin_memory,
    )
