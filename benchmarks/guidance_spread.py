"""How much guidance (PDG, eq. 2) tells the proposals of a click apart, in the paper's form and the default's.

OMP_NUM_THREADS=1 python benchmarks/guidance_spread.py --points POINTS --images IMAGES --proposals STORE
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from sapnet.build import build_dataset
from sapnet.config import Config
from sapnet.config_loader import preset_values
from sapnet.data.annotations import load_points
from sapnet.data.collate import collate
from sapnet.mil.point_guidance import point_guidance
from sapnet.proposals.store import ProposalStore

ALIKE = 0.95
"""Factors of a bag of which the smallest is at least this share of the largest change next to nothing."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("points", "images", "proposals"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--every", type=int, default=5, help="use one image of so many")
    given = parser.parse_args()
    points = load_points(given.points)
    store = ProposalStore.open(given.proposals, points)
    config = Config()
    default, paper = config.model.guidance, preset_values("paper")["model"]["guidance"]
    forms = {"paper": default.model_copy(update=paper), "default": default}
    data = build_dataset(config, points, given.images, store, training=True)
    data.set_epoch(0)
    ratios: dict[str, list[torch.Tensor]] = {name: [] for name in forms}
    for row in range(0, len(data), given.every):
        batch = collate(
            [data[row]], size_divisor=config.data.size_divisor, mask_stride=config.data.mask_stride
        )
        valid = batch.bags.valid
        several = valid.sum(dim=1) > 1
        for name, form in forms.items():
            factors = point_guidance(
                batch.prompts,
                batch.bags,
                overlap=form.overlap,
                distance=form.distance,
                exponent=form.exponent,
                mask_stride=config.data.mask_stride,
            )
            least = factors.masked_fill(~valid, torch.inf).amin(dim=1)
            ratios[name].append((least / factors.masked_fill(~valid, 0.0).amax(dim=1))[several])
    for name, found in ratios.items():
        values = torch.cat(found)
        sys.stdout.write(
            f"{name}: {len(values)} bags, {(values >= ALIKE).float().mean():.0%} with all factors within "
            f"{1 - ALIKE:.0%}, smallest over largest {values.mean():.3f} on average\n"
        )


if __name__ == "__main__":
    main()
