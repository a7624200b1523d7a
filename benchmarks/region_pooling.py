"""RoIAlign on the CPU: ours beside torchvision's, forward and backward, alternately in one process.

OMP_NUM_THREADS=1 python benchmarks/region_pooling.py [--repeats 7]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import roi_align

from sapnet.models.region_pooling import align_regions

CASES = {"finest level of a pyramid": (64, 64, 96, 4, 700), "a stage of the backbone": (144, 32, 48, 8, 200)}
"""Channels, height, width, stride and boxes of two images."""


def ours(feature: Tensor, rois: Tensor, stride: int) -> Tensor:
    """The package's."""
    return align_regions(feature, rois, 7, stride=stride, samples=2)


def theirs(feature: Tensor, rois: Tensor, stride: int) -> Tensor:
    """Torchvision's."""
    return roi_align(feature, rois, 7, 1 / stride, 2, aligned=True)


def seconds(
    pool: Callable[[Tensor, Tensor, int], Tensor], feature: Tensor, rois: Tensor, stride: int
) -> float:
    """CPU seconds of one forward and backward pass."""
    feature.grad = None
    start = time.process_time()
    (pool(feature, rois, stride) ** 2).sum().backward()
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    for name, (channels, height, width, stride, count) in CASES.items():
        feature = torch.randn(2, channels, height, width, requires_grad=True)
        corner = torch.rand(count, 2) * torch.tensor([width, height]) * stride * 0.8
        rois = torch.cat(
            [torch.randint(0, 2, (count, 1)), corner, corner + 4 + torch.rand(count, 2) * 100], dim=1
        )
        seconds(ours, feature, rois, stride), seconds(theirs, feature, rois, stride)
        pairs = [
            (seconds(ours, feature, rois, stride), seconds(theirs, feature, rois, stride))
            for _ in range(repeats)
        ]
        ratios = [second / first for first, second in pairs]
        sys.stdout.write(
            f"{name}, {count} boxes: ours {statistics.median(first for first, _ in pairs) * 1e3:.0f} ms, "
            f"torchvision {statistics.median(second for _, second in pairs) * 1e3:.0f} ms, "
            f"ratio {statistics.mean(ratios):.2f} ± {statistics.stdev(ratios):.2f}\n"
        )


if __name__ == "__main__":
    main()
