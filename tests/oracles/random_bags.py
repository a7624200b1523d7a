"""Seeded random prompts, bags and draws for the tests of the multiple-instance stages."""

from dataclasses import dataclass

import torch

from sapnet.structures import BagScores, PointPrompts, ProposalBags

STRIDE = 4
HEIGHT, WIDTH = 96, 128


@dataclass
class Case:
    prompts: PointPrompts
    bags: ProposalBags
    image_sizes: torch.Tensor
    class_logits: torch.Tensor
    instance_logits: torch.Tensor
    background_draws: torch.Tensor
    part_draws: torch.Tensor
    num_classes: int


def random_case(
    seed, *, num_prompts=5, num_proposals=4, num_images=2, num_classes=3, num_positives=None, ties=False
):
    """Boxes on whole pixels inside the image; some bags are partly, some wholly invalid."""
    g = torch.Generator().manual_seed(seed)
    n, m, p = num_prompts, num_proposals, num_positives or num_proposals

    def rand(*shape):
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    limit = torch.tensor([WIDTH, HEIGHT], dtype=torch.float64)
    xy = (rand(n, 2) * limit).floor() + 0.25
    start = (xy[:, None] * rand(n, m, 2)).floor()
    end = (xy[:, None] + 1 + (limit - xy[:, None] - 1) * rand(n, m, 2)).ceil()
    boxes = torch.cat([start, end], dim=-1)
    valid = rand(n, m) < 0.8
    valid[rand(n) < 0.15] = False
    masks = rand(n, m, HEIGHT // STRIDE, WIDTH // STRIDE) < 0.4
    covered = (rand(n, m) < 0.4) & valid
    logits = rand(2, n, p, num_classes) * 6 - 3
    if ties:
        logits = logits.round()
    return Case(
        prompts=PointPrompts(
            xy=xy,
            labels=torch.randint(0, num_classes, (n,), generator=g),
            image_index=torch.randint(0, num_images, (n,), generator=g).sort().values,
            annotation_ids=torch.arange(n) + 100,
        ),
        bags=ProposalBags(
            boxes=boxes,
            masks=masks,
            scores=rand(n, m).sort(dim=1, descending=True).values,
            valid=valid,
            covered_points=covered,
            covered_distance=torch.where(covered, 1 + 60 * rand(n, m), 0.0),
            area=masks.sum((2, 3)) * float(STRIDE**2),
            opinions=torch.ones(n, m),
        ),
        image_sizes=torch.tensor([[HEIGHT, WIDTH]] * num_images).reshape(-1, 2),
        class_logits=logits[0],
        instance_logits=logits[1],
        background_draws=rand(num_images, 12, 4),
        part_draws=rand(n, 3, 4),
        num_classes=num_classes,
    )


def plain_scores(values):
    """Scores (G, P, K) that equal ``values``: all in the class probabilities."""
    return BagScores(
        class_probs=values,
        instance_probs=torch.ones_like(values),
        guidance=torch.ones(values.shape[:2], dtype=values.dtype),
    )


def make_bags(boxes, *, valid=None, covered=None, distance=None, masks=None):
    """Bags from nested lists of boxes (G, M, 4), everything else at its plainest."""
    boxes = torch.as_tensor(boxes, dtype=torch.float64)
    shape = boxes.shape[:2]
    zeros = torch.zeros(shape, dtype=torch.bool)
    return ProposalBags(
        boxes=boxes,
        masks=torch.ones(*shape, 2, 2, dtype=torch.bool) if masks is None else torch.as_tensor(masks),
        scores=torch.zeros(shape, dtype=torch.float64),
        valid=~zeros if valid is None else torch.as_tensor(valid),
        covered_points=zeros if covered is None else torch.as_tensor(covered),
        covered_distance=zeros.double() if distance is None else torch.as_tensor(distance).double(),
        area=zeros.double(),
        opinions=torch.ones(shape, dtype=torch.float64),
    )


def make_prompts(xy, labels=None, image_index=None):
    """Prompts from a list of points; by default all of class 0 in image 0."""
    xy = torch.as_tensor(xy, dtype=torch.float64).reshape(-1, 2)
    zeros = torch.zeros(len(xy), dtype=torch.long)
    return PointPrompts(
        xy=xy,
        labels=zeros if labels is None else torch.as_tensor(labels),
        image_index=zeros if image_index is None else torch.as_tensor(image_index),
        annotation_ids=torch.arange(len(xy)),
    )
