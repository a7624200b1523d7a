"""Small random pseudo labels and head outputs, as tensors and as the oracles' nested lists."""

import torch

from sapnet.structures import PseudoLabels, SegmentationOutputs


def random_labels(seed, *, count=4, num_masks=2, images=2, classes=3, grid=(16, 20), stride=4):
    """Rectangular masks with random boxes; some masks empty or invalid, some prompts touching."""
    generator = torch.Generator().manual_seed(seed)
    height, width = grid
    masks = torch.zeros(count, num_masks, height, width, dtype=torch.bool)
    corner = torch.rand(count, num_masks, 2, generator=generator)
    extent = torch.rand(count, num_masks, 2, generator=generator) * 0.6
    for g in range(count):
        for q in range(num_masks):
            top, left = int(corner[g, q, 0] * height * 0.8), int(corner[g, q, 1] * width * 0.8)
            bottom, right = top + int(extent[g, q, 0] * height), left + int(extent[g, q, 1] * width)
            masks[g, q, top:bottom, left:right] = True
    size = torch.tensor([width, height]) * stride
    low = torch.rand(count, 2, generator=generator) * size * 0.6
    boxes = torch.cat((low, low + torch.rand(count, 2, generator=generator) * size * 0.6), dim=1)
    return PseudoLabels(
        labels=torch.randint(0, classes, (count,), generator=generator),
        boxes=boxes,
        masks=masks,
        mask_valid=torch.rand(count, num_masks, generator=generator) > 0.2,
        image_index=torch.randint(0, images, (count,), generator=generator),
    )


def empty_labels(*, grid=(16, 20), num_masks=2):
    """No prompt at all."""
    return PseudoLabels(
        labels=torch.zeros(0, dtype=torch.long),
        boxes=torch.zeros(0, 4),
        masks=torch.zeros(0, num_masks, *grid, dtype=torch.bool),
        mask_valid=torch.zeros(0, num_masks, dtype=torch.bool),
        image_index=torch.zeros(0, dtype=torch.long),
    )


def random_outputs(seed, *, images=2, classes=3, depth=4, grids=(5, 3), grid=(16, 20), requires_grad=False):
    """Head outputs with standard normal numbers."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator).requires_grad_(requires_grad)

    return SegmentationOutputs(
        category_logits=tuple(draw(images, classes, s, s) for s in grids),
        kernels=tuple(draw(images, depth, s, s) for s in grids),
        mask_features=draw(images, depth, *grid),
    )


def as_prompts(labels):
    """The labels as the dictionaries that the oracles read."""
    return [
        {
            "image": int(labels.image_index[g]),
            "label": int(labels.labels[g]),
            "box": labels.boxes[g].tolist(),
            "masks": [
                mask.tolist() if valid else None
                for mask, valid in zip(labels.masks[g], labels.mask_valid[g].tolist(), strict=True)
            ],
        }
        for g in range(len(labels.labels))
    ]


def as_cells(targets, num_grids):
    """Grid targets as the dictionary that ``oracles.solov2_targets.assign`` returns."""
    result = {}
    for index in range(len(targets)):
        level, cell = int(targets.level[index]), int(targets.cell[index])
        row, column = divmod(cell, num_grids[level])
        key = (int(targets.rank[index]), int(targets.image[index]), level, row, column)
        assert key not in result
        result[key] = (int(targets.prompt[index]), int(targets.ring[index]) == 0)
    return result
