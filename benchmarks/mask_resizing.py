"""Predicted masks at the original size: around their own cells beside whole images, by turns in one process.

OMP_NUM_THREADS=1 python benchmarks/mask_resizing.py [--repeats 7]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet.inference.mask_resizing import resized_masks

CASES = {"small objects": 6, "large objects": 30}
"""Side of the objects in cells of the mask features."""
CELLS, INPUT, ORIGINAL = (80, 120), (320, 480), (480, 640)


def ours(probs: Tensor) -> Tensor:
    """The package's."""
    return resized_masks(probs, INPUT, ORIGINAL, stride=4, threshold=0.5)


def theirs(probs: Tensor) -> Tensor:
    """Both interpolations of whole images."""
    enlarged = F.interpolate(probs[None], INPUT, mode="bilinear", align_corners=False)
    return F.interpolate(enlarged, ORIGINAL, mode="bilinear", align_corners=False)[0] > 0.5


def seconds(resize: Callable[[Tensor], Tensor], probs: Tensor) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    resize(probs)
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in CELLS), indexing="ij")
    for name, side in CASES.items():
        centres = torch.rand(64, 2, generator=generator) * torch.tensor(CELLS)
        distance = torch.hypot(y - centres[:, 0, None, None], x - centres[:, 1, None, None])
        probs = torch.sigmoid(side / 2 - distance)
        differing = (ours(probs) != theirs(probs)).sum().item()
        pairs = [(seconds(ours, probs), seconds(theirs, probs)) for _ in range(repeats)]
        ratios = [second / first for first, second in pairs]
        sys.stdout.write(
            f"{name}, 64 masks of {ORIGINAL[0]} x {ORIGINAL[1]}: ours "
            f"{statistics.median(first for first, _ in pairs) * 1e3:.0f} ms, whole images "
            f"{statistics.median(second for _, second in pairs) * 1e3:.0f} ms, ratio "
            f"{statistics.mean(ratios):.1f} ± {statistics.stdev(ratios):.1f}; {differing} pixels differ\n"
        )


if __name__ == "__main__":
    main()
