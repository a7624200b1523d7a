"""What the built-in proposer costs: seconds for one image of 640 x 480 with ten clicks.

    python benchmarks/builtin_time.py [--photographs DIR] [--images 8] [--repeats 3] [--long-side N]

Images are drawn (blocks of colour with noise) or, better, the first photographs of a folder, brought to
640 x 480; clicks are random. The network is loaded and warm before the clock starts; reading files is not
counted. Of every image's repeats the fastest counts, since other programs only ever make one slower.
Prints one JSON line: the median, least and greatest seconds over the images, by the clock and of CPU time
(of all threads), and how many threads shared an image.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sapnet.data.images import read_image
from sapnet.proposals.builtin.proposer import BuiltinProposer
from sapnet.proposals.builtin.sharing import usable_threads
from sapnet.proposals.proposer import ImagePrompts

_WIDTH, _HEIGHT = 640, 480
_BLOCK = 40


def images_of(folder: Path | None, count: int) -> Iterator[np.ndarray]:
    """Yield RGB images of 640 x 480.

    Args:
        folder: Of JPEG photographs; None draws images.
        count: How many at most.
    """
    if folder is not None:
        for path in sorted(folder.glob("*.jpg"))[:count]:
            yield cv2.resize(read_image(path), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
        return
    for seed in range(count):
        random = np.random.default_rng(seed)
        blocks = random.integers(0, 200, (_HEIGHT // _BLOCK, _WIDTH // _BLOCK, 3), dtype=np.uint8)
        image = cv2.resize(blocks, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_NEAREST)
        yield image + random.integers(0, 30, image.shape, dtype=np.uint8)


def some_clicks(count: int, seed: int) -> ImagePrompts:
    """Return random clicks on an image of 640 x 480, of one class."""
    xy = np.random.default_rng(seed).uniform(0, [_WIDTH, _HEIGHT], (count, 2))
    return ImagePrompts(
        image_id=1, annotation_ids=np.arange(1, count + 1), xy=xy, labels=np.zeros(count, dtype=np.int64)
    )


def fastest(
    proposer: BuiltinProposer, image: np.ndarray, prompts: ImagePrompts, repeats: int
) -> tuple[float, float]:
    """Return the least seconds by the clock and of CPU time over some repetitions."""
    by_clock, by_cpu = [], []
    for _ in range(repeats):
        clock, cpu = time.perf_counter(), time.process_time()
        proposer.propose(image, prompts)
        by_clock.append(time.perf_counter() - clock)
        by_cpu.append(time.process_time() - cpu)
    return min(by_clock), min(by_cpu)


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median, least and greatest, in hundredths."""
    named = {"median": statistics.median(seconds), "least": min(seconds), "greatest": max(seconds)}
    return {name: round(value, 2) for name, value in named.items()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photographs", type=Path, help="folder of JPEG files; drawn images otherwise")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long-side", type=int, help="working long side; the proposer's own otherwise")
    options = parser.parse_args()
    settings: dict[str, Any] = {}
    if options.long_side is not None:
        settings["working_long_side"] = options.long_side
    proposer = BuiltinProposer(**settings)
    times = []
    for seed, image in enumerate(images_of(options.photographs, options.images)):
        prompts = some_clicks(options.clicks, seed)
        if not times:
            proposer.propose(image, prompts)
        times.append(fastest(proposer, image, prompts, options.repeats))
    if not times:
        parser.error(f"no photograph in {options.photographs}")
    result = {
        "clicks": options.clicks,
        "images": len(times),
        "working_long_side": proposer.settings["working_long_side"],
        "threads": usable_threads(),
        "seconds_by_the_clock": summary([clock for clock, _ in times]),
        "seconds_of_cpu": summary([cpu for _, cpu in times]),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
