"""Learns to score the candidates of a click from photographs with object masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import nn

from sapnet.proposals.builtin.asking import Asking
from sapnet.proposals.builtin.bag_features import STEP, bag_features
from sapnet.proposals.builtin.candidate_features import Candidates, click_candidates
from sapnet.proposals.builtin.click_bags import HEAD, HIERARCHY
from sapnet.proposals.builtin.hierarchy import region_sums
from sapnet.proposals.builtin.ranking import Ranking, standardised
from sapnet.proposals.builtin.region_table import RegionTable
from sapnet.proposals.builtin.working_image import WorkingImage, click_of
from sapnet.proposals.proposer import ImagePrompts

_UNITS = 32
_BATCH = 1024
_BEST_EMPHASIS = 3.0
"""Weight of a candidate is 1 + this times its overlap: the good ones are few."""


ClickExamples = tuple[Float[ndarray, "n f"], Float[ndarray, " n"]]
"""The features of a click's candidates and their IoU with the clicked object."""


@dataclass(frozen=True)
class RankingExamples:
    """Candidates of many clicks, one after the other."""

    features: Float[ndarray, "n f"]
    overlaps: Float[ndarray, " n"]
    """IoU of each candidate with the clicked object."""
    click: Int[ndarray, " n"]
    """Running number of the click of each candidate."""


def click_examples(
    working: WorkingImage,
    prompts: ImagePrompts,
    masks: Bool[ndarray, "A h w"],
    *,
    with_neighbours: bool = True,
) -> list[ClickExamples]:
    """Return the features of the regions at every click of an image, and their IoU with the clicked object.

    Args:
        working: The image.
        prompts: A click per object, original frame.
        masks: The objects, working frame.
        with_neighbours: Whether the features may know of the other clicks.
    """
    common = [region_sums(table.tree, masks) for table in working.tables]
    areas = masks.sum((1, 2)).astype(np.float64)
    examples = []
    for i in range(prompts.num_prompts):
        click = click_of(prompts, i, working, with_neighbours=with_neighbours)
        candidates = click_candidates(working.tables, working.maps, click)
        examples.append((candidates.features, _overlaps(candidates, common, working.tables, i, areas[i])))
    return examples


def _overlaps(
    candidates: Candidates,
    common: Sequence[ndarray],
    tables: Sequence[RegionTable],
    column: int,
    area: float,
) -> ndarray:
    shared = np.zeros(len(candidates.node))
    for number in range(len(tables)):
        rows = candidates.tree == number
        shared[rows] = common[number][candidates.node[rows], column]
    return shared / np.maximum(candidates.area + area - shared, 1.0)


def bag_examples(
    asking: Asking,
    working: WorkingImage,
    prompts: ImagePrompts,
    masks: Bool[ndarray, "A h w"],
    size: tuple[int, int],
) -> dict[str, list[ClickExamples]]:
    """Return the features of all candidates at every click of an image, and their IoU with the object.

    Args:
        asking: With both sources.
        working: The image.
        prompts: A click per object, original frame.
        masks: The objects, working frame.
        size: ``(H, W)`` of the original image.

    Returns:
        For every choice of sources, joined with ``+``, the examples of all clicks with candidates.
    """
    found: dict[str, list[ClickExamples]] = {name: [] for name in (HIERARCHY, HEAD, f"{HIERARCHY}+{HEAD}")}
    for i, click, candidates in asking.candidates(working, prompts, size):
        bag = candidates.bag
        target = masks[i, ::STEP, ::STEP].reshape(-1).astype(np.float32)
        flat = bag.masks.unpacked().reshape(len(bag.masks), len(target)).astype(np.float32)
        common = flat @ target
        overlaps = common / np.maximum(flat.sum(1) + target.sum() - common, 1.0)
        for name, rows in (
            (HIERARCHY, np.flatnonzero(~bag.from_head)),
            (HEAD, np.flatnonzero(bag.from_head)),
            (f"{HIERARCHY}+{HEAD}", np.arange(len(bag.rows))),
        ):
            if len(rows):
                features = bag_features(bag.take(rows), working.around, click)
                found[name].append((features, overlaps[rows]))
    return found


def join_examples(parts: Sequence[ClickExamples]) -> RankingExamples:
    """Put the candidates of many clicks together; at least one click."""
    return RankingExamples(
        np.concatenate([features for features, _ in parts]),
        np.concatenate([overlaps for _, overlaps in parts]).astype(np.float32),
        np.repeat(np.arange(len(parts)), [len(overlaps) for _, overlaps in parts]),
    )


def fit_ranking(
    examples: RankingExamples, *, epochs: int = 30, learning_rate: float = 2e-3, seed: int = 0
) -> Ranking:
    """Fit the scorer: cross-entropy of the predicted against the true IoU.

    Every click counts the same, however many candidates it has.

    Args:
        examples: What to learn from.
        epochs: Passes over the examples.
        learning_rate: Of AdamW, falling to 0 along half a cosine.
        seed: Seed of the initial weights and the order.
    """
    torch.manual_seed(seed)
    mean = examples.features.mean(0)
    deviation = np.maximum(examples.features.std(0), 1e-3).astype(np.float32)
    inputs = torch.from_numpy(standardised(examples.features, mean, deviation).astype(np.float32))
    targets = torch.from_numpy(examples.overlaps)
    per_click = np.bincount(examples.click)[examples.click]
    weights = torch.from_numpy((1.0 / per_click).astype(np.float32)) * (1.0 + _BEST_EMPHASIS * targets)
    weights = weights / weights.mean()
    model = nn.Sequential(
        nn.Linear(inputs.shape[1], _UNITS),
        nn.ReLU(),
        nn.Linear(_UNITS, _UNITS),
        nn.ReLU(),
        nn.Linear(_UNITS, 1),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-2)
    batches = -(-len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(_BATCH):
            logits = model(inputs[rows])[:, 0]
            losses = F.binary_cross_entropy_with_logits(logits, targets[rows], reduction="none")
            optimizer.zero_grad(set_to_none=True)
            (losses * weights[rows]).mean().backward()
            optimizer.step()
            schedule.step()
    return _exported(model, mean, deviation)


def _exported(model: nn.Sequential, mean: ndarray, deviation: ndarray) -> Ranking:
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    arrays = {"mean": mean.astype(np.float32), "deviation": deviation}
    for number, layer in enumerate(layers, start=1):
        arrays[f"weight_{number}"] = layer.weight.detach().numpy().T.copy()
        arrays[f"bias_{number}"] = layer.bias.detach().numpy().copy()
    return Ranking.of_arrays(arrays)
