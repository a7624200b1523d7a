"""Several views of every image, one after the other: other sizes, and mirrored.

What a network says of a proposal changes with the size of the image and with mirroring it; the mean
over views changes less.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import Dataset

from sapnet.data.dataset import Sample, TrainingDataset


class ImageViews(Dataset[Sample]):
    """All views of the first image, then all of the second, and so on.

    Args:
        views: The same clicks, images and proposals at other sizes, mirrored or not, with the same
            number of proposals per click; at least one.

    Raises:
        ValueError: There are none.
    """

    def __init__(self, views: Sequence[TrainingDataset]) -> None:
        if not views:
            raise ValueError("an image is looked at in one view at least")
        self.views = tuple(views)
        self.images_dir = views[0].images_dir

    def __len__(self) -> int:
        return len(self.views) * len(self.views[0])

    def __getitem__(self, index: int) -> Sample:
        """Return view ``index % V`` of the image in row ``index // V``, V being the number of views.

        Raises:
            DataError: See ``TrainingDataset``.
        """
        row, view = divmod(index, len(self.views))
        return self.views[view][row]
