"""Two real training steps of a configuration at its full image size: time and memory.

    python benchmarks/paper_scale.py configs/coco_r50_1x.yaml [--size 800 1333] [--objects 10]

Random weights and a random image: what is measured is the work, not the result. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch

from sapnet.build import build_model, build_total_loss
from sapnet.config import Config
from sapnet.config_loader import load_config
from sapnet.engine.optimizer import build_optimizer
from sapnet.structures import Batch, PointPrompts, ProposalBags


def random_batch(config: Config, size: tuple[int, int], num_objects: int, num_classes: int) -> Batch:
    """One image of noise with rectangular proposals.

    Args:
        config: Settings of the run.
        size: (height, width) in pixels, padded up to the size divisor.
        num_objects: Clicks.
        num_classes: K.
    """
    generator = torch.Generator().manual_seed(0)
    divisor, stride, count = config.data.size_divisor, config.data.mask_stride, config.data.max_proposals
    height, width = (-(-side // divisor) * divisor for side in size)
    xy = torch.rand(num_objects, 2, generator=generator) * torch.tensor([size[1] * 0.6, size[0] * 0.6])
    sides = 40 + torch.rand(num_objects, count, 2, generator=generator) * 300
    boxes = torch.cat([xy[:, None].expand(-1, count, -1), xy[:, None] + sides], dim=2)
    rows = torch.arange(height // stride)[:, None] * stride
    columns = torch.arange(width // stride)[None] * stride
    left, top, right, bottom = (boxes[..., side, None, None] for side in range(4))
    masks = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    none = torch.zeros(num_objects, count)
    return Batch(
        images=torch.randn(1, 3, height, width, generator=generator),
        image_sizes=torch.tensor([size]),
        prompts=PointPrompts(
            xy=xy + 20,
            labels=torch.randint(num_classes, (num_objects,), generator=generator),
            image_index=torch.zeros(num_objects, dtype=torch.long),
            annotation_ids=torch.arange(num_objects),
        ),
        bags=ProposalBags(
            boxes=boxes,
            masks=masks,
            scores=torch.rand(num_objects, count, generator=generator),
            valid=none == 0,
            covered_points=none > 0,
            covered_distance=none,
            area=sides.prod(dim=2),
        ),
        background_draws=torch.rand(1, config.model.regions.background_per_image, 4, generator=generator),
        part_draws=torch.rand(num_objects, config.model.regions.parts_per_prompt, 4, generator=generator),
        image_ids=(1,),
        file_names=("noise",),
    )


def main() -> None:
    """Run two steps and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1333), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--classes", type=int, default=80)
    args = parser.parse_args()
    config = load_config(args.config)
    model = build_model(
        config.model, num_classes=args.classes, mask_stride=config.data.mask_stride, pretrained=False
    )
    optimizer = build_optimizer(config.optim, model, batch_size=1)
    batch = random_batch(config, tuple(args.size), args.objects, args.classes)
    seconds, losses = [], []
    for _ in range(2):
        start = time.perf_counter()
        means = build_total_loss(config.model)(model(batch, "joint"))
        means.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(round(time.perf_counter() - start, 1))
        losses.append(round(means.total.item(), 3))
    figures = {
        "config": args.config.name,
        "size": list(args.size),
        "images_per_step": 1,
        "objects": args.objects,
        "threads": torch.get_num_threads(),
        "parameters_in_millions": round(sum(value.numel() for value in model.parameters()) / 1e6, 1),
        "seconds_per_step": seconds,
        "peak_memory_in_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1),
        "losses": losses,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
