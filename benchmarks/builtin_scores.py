"""Fits the scorers of the built-in proposer on photographs that its networks have not seen."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from builtin_photographs import ranking_photographs

from sapnet.data.annotations import InstanceSet
from sapnet.data.images import read_image
from sapnet.data.point_sampling import Mode, sample_points
from sapnet.data.rle import decode_masks
from sapnet.proposals.builtin.asking import Asking
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork
from sapnet.proposals.builtin.click_bags import HEAD, HIERARCHY, SOURCES
from sapnet.proposals.builtin.prompt_head import PromptHead
from sapnet.proposals.builtin.ranking import Ranking
from sapnet.proposals.builtin.ranking_training import (
    ClickExamples,
    bag_examples,
    click_examples,
    fit_ranking,
    join_examples,
)
from sapnet.proposals.builtin.weights import BuiltinWeights, save_weights
from sapnet.proposals.builtin.working_image import WorkingImage, reduce_image
from sapnet.proposals.prompt_plan import BOX_AND_POINT, POINT, POINT_AND_NEGATIVES
from sapnet.proposals.proposer import ImagePrompts, prompts_of_image

HEAD_FOLDER, RANKINGS_NAME = "head", "rankings.pt"
FOLDS = 3
"""Parts of the photographs: the scores are fitted on rankings that have not seen the photograph."""
JUDGED = 5
"""Every so many-th photograph is left out of a trial fit and judged by it."""

CLICKS: tuple[tuple[Mode, int, bool], ...] = (
    ("quasi-center", 11, True),
    ("quasi-center", 12, False),
    ("random", 11, True),
)
"""Clicks that are scored: how they are drawn, the seed, and whether the other clicks may be known."""
PLAN = {"max_negatives": 3, "negatives": "same-class", "jitter_pixels": 4.0, "jitter_count": 2, "seed": 0}

Work = Callable[[int, WorkingImage, list[tuple[ImagePrompts, np.ndarray, bool]]], Any]


def say(line: Mapping[str, Any]) -> None:
    """Print one JSON line at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def load_trained(folder: Path) -> BoundaryNetwork:
    """Return the boundary network of a training folder's checkpoint."""
    network = BoundaryNetwork()
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    return network.eval()


def load_head(folder: Path) -> PromptHead:
    """Return the head of a training folder's checkpoint."""
    head = PromptHead()
    state = torch.load(folder / HEAD_FOLDER / "checkpoint.pt", map_location="cpu", weights_only=True)
    head.load_state_dict(state["network"])
    return head.eval()


def fit_rankings(options: argparse.Namespace) -> None:
    """Fit the ranking of regions, on all photographs and without each fold, and say how it does."""

    def work(_: int, working: WorkingImage, clicks: list) -> list[ClickExamples]:
        found = [click_examples(working, p, masks, with_neighbours=known) for p, masks, known in clicks]
        return [item for part in found for item in part if len(item[1])]

    parts = _over_photographs(options, None, work)
    _say_trial("regions", parts, options.seed)
    rankings = [
        fit_ranking(_joined([part for i, part in enumerate(parts) if i % FOLDS != fold]), seed=options.seed)
        for fold in range(FOLDS)
    ]
    rankings.append(fit_ranking(_joined(parts), seed=options.seed))
    arrays = [{name: torch.from_numpy(v) for name, v in item.arrays().items()} for item in rankings]
    torch.save(arrays, options.out / RANKINGS_NAME)


def fit_scores(options: argparse.Namespace) -> None:
    """Fit the scores of all candidates for every choice of sources, and write the weights."""
    stored = torch.load(options.out / RANKINGS_NAME, weights_only=True)
    *folds, ranking = [Ranking.of_arrays({k: v.numpy() for k, v in item.items()}) for item in stored]
    network, head = load_trained(options.out), load_head(options.out)

    def work(number: int, working: WorkingImage, clicks: list) -> dict[str, list[ClickExamples]]:
        weights = BuiltinWeights(network, folds[number % FOLDS], head)
        found: dict[str, list[ClickExamples]] = {name: [] for name in (HIERARCHY, HEAD, "+".join(SOURCES))}
        for prompts, masks, known in clicks:
            kinds = (POINT, *((POINT_AND_NEGATIVES,) if known else ()), BOX_AND_POINT)
            asking = Asking(weights, SOURCES, kinds, PLAN)
            size = tuple(np.rint(np.array(working.size) / working.scale[::-1]).astype(int).tolist())
            for name, examples in bag_examples(asking, working, prompts, masks, size).items():
                found[name] += examples
        return found

    parts = _over_photographs(options, head, work)
    scorers = {}
    for name in parts[0]:
        examples = [part[name] for part in parts]
        _say_trial(name, examples, options.seed)
        scorers[name] = fit_ranking(_joined(examples), seed=options.seed)
    save_weights(options.out / "boundaries.safetensors", BuiltinWeights(network, ranking, head, scorers))


def _over_photographs(options: argparse.Namespace, head: PromptHead | None, work: Work) -> list:
    """Do something with every photograph and the clicks on it (prompts, masks, neighbours known)."""
    network = load_trained(options.out)
    instances, chosen = ranking_photographs(options.data, options.photographs)
    clicks = [(sample_points(instances, mode, seed), known) for mode, seed, known in CLICKS]
    done = []
    for number, index in enumerate(chosen.tolist()):
        image = read_image(options.data / "images" / instances.images.file_names[index])
        working = reduce_image(image, network, head, long_side=options.long_side)
        prompts = [(prompts_of_image(points, index), known) for points, known in clicks]
        asked = [(p, _masks(instances, index, p, working.size), known) for p, known in prompts]
        done.append(work(number, working, asked))
    return done


def _masks(instances: InstanceSet, index: int, prompts: ImagePrompts, size: tuple[int, int]) -> np.ndarray:
    """Return the masks of the clicked objects in the working frame."""
    rows_of_ids = {int(instances.annotation_ids[row]): row for row in instances.rows_of(index)}
    rows = [rows_of_ids[int(identifier)] for identifier in prompts.annotation_ids]
    masks = decode_masks(instances.counts.take(rows), instances.images.size(index))
    if masks.shape[1:] == size:
        return masks
    resized = [cv2.resize(mask.astype(np.float32), size[::-1]) > 0.5 for mask in masks]
    return np.array(resized, dtype=bool).reshape(-1, *size)


def _joined(parts: Sequence[Sequence[ClickExamples]]) -> Any:
    return join_examples([item for part in parts for item in part])


def _say_trial(name: str, parts: Sequence[Sequence[ClickExamples]], seed: int) -> None:
    """Say how a scorer fitted on most photographs ranks the candidates of the others."""
    trial = fit_ranking(_joined([part for i, part in enumerate(parts) if i % JUDGED]), seed=seed)
    items = [item for part in parts[::JUDGED] for item in part]
    top = [overlaps[trial.predict(features).argmax()] for features, overlaps in items]
    best = [overlaps.max() for _, overlaps in items]
    figures = {"clicks": len(items), "top1": float(np.mean(top)), "oracle": float(np.mean(best))}
    say({"scorer": name, "photographs": len(parts), "held_out": figures})
