"""What `sapnet propose` costs beside SAM itself: its time per image over that of encoder and decoder alone.

    OMP_NUM_THREADS=1 python benchmarks/proposal_overhead.py [--images 2] [--clicks 10] [--repeats 3]

A randomly initialised SAM of real architecture (ViT-B, 1024 pixels) stands for the trained one, which does
the same work. One side is the whole job with its default prompts (read, resize, encode, plan, decode,
masks to full size and run lengths, merge duplicates, write the store); the other is nothing but the
network's calls on prepared tensors, with the same prompts. Both sides alternate. Seconds are those of this
process's CPU time, which other programs on the machine do not change much; run it with one thread. Prints
one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import transformers

from sapnet.build_proposer import build_proposer
from sapnet.config import Config
from sapnet.data.annotations import PointSet, load_points
from sapnet.data.atomic import write_json_atomic
from sapnet.proposals.generate import generate_proposals

_SIZE = (480, 640)
"""Height and width of the images."""


def write_data(folder: Path, *, images: int, clicks: int) -> PointSet:
    """Write smooth random images and clicks of one class.

    Args:
        folder: Gets ``points.json`` and the images.
        images: How many images.
        clicks: Clicks per image.
    """
    random = np.random.default_rng(0)
    entries, annotations = [], []
    for number in range(1, images + 1):
        coarse = random.integers(0, 256, (_SIZE[0] // 40, _SIZE[1] // 40, 3), dtype=np.uint8)
        name = f"{number}.jpg"
        cv2.imwrite(str(folder / name), cv2.resize(coarse, _SIZE[::-1], interpolation=cv2.INTER_CUBIC))
        entries.append({"id": number, "file_name": name, "width": _SIZE[1], "height": _SIZE[0]})
        for x, y in random.uniform((10, 10), (_SIZE[1] - 10, _SIZE[0] - 10), (clicks, 2)).tolist():
            click = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "point": [x, y]}
            annotations.append(click)
    document = {"images": entries, "categories": [{"id": 1, "name": "thing"}], "annotations": annotations}
    write_json_atomic(folder / "points.json", document)
    return load_points(folder / "points.json")


def write_checkpoint(folder: Path, *, side: int) -> Path:
    """Write a random SAM with the image encoder ViT-B, in the format of transformers.

    Args:
        folder: Of the checkpoint.
        side: Input side in pixels; 1024 is that of the real one.
    """
    torch.manual_seed(0)
    vision = {"image_size": side}
    prompts = {"image_size": side, "image_embedding_size": side // 16}
    settings = transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompts)
    transformers.SamModel(settings).save_pretrained(folder)
    size = {"size": {"longest_edge": side}, "pad_size": {"height": side, "width": side}}
    transformers.SamImageProcessor(**size).save_pretrained(folder)
    return folder


def bare_calls(model: Any, *, side: int, images: int, clicks: int, negatives: int) -> Callable[[], None]:
    """Return encoder and decoder calls for all images on prepared tensors.

    Args:
        model: ``SamModel``, in evaluation mode.
        side: Input side in pixels.
        images: How many images.
        clicks: Clicks per image.
        negatives: Negative points of the second kind of prompt.
    """
    pixels = torch.randn(1, 3, side, side)
    alone = torch.rand(1, clicks, 1, 2) * side
    several = torch.rand(1, clicks, 1 + negatives, 2) * side
    labels = torch.zeros(1, clicks, 1 + negatives, dtype=torch.long)
    labels[..., 0] = 1

    def run() -> None:
        with torch.inference_mode():
            for _ in range(images):
                encoded = model.get_image_embeddings(pixels)
                for points, marks in ((alone, labels[..., :1]), (several, labels)):
                    model(
                        image_embeddings=encoded,
                        input_points=points,
                        input_labels=marks,
                        multimask_output=True,
                    )

    return run


def seconds_of(job: Callable[[], Any]) -> float:
    """Return the CPU seconds of this process for a job."""
    start = time.process_time()
    job()
    return time.process_time() - start


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Overhead of sapnet propose over SAM's own calls.")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", type=int, default=1024, help="input side of the network in pixels")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # With random weights and without biases, the padding of an image comes to numbers so small that products
    # of them take a processor ten times as long. Trained networks have none of them.
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        points = write_data(folder, images=args.images, clicks=args.clicks)
        checkpoint = write_checkpoint(folder / "sam", side=args.side)
        section = Config().proposals.model_copy(update={"name": "sam", "checkpoint": str(checkpoint)})
        proposer = build_proposer(section)
        model = proposer.load().model  # type: ignore[attr-defined]
        negatives = min(section.sam.max_negatives, args.clicks - 1)
        bare = bare_calls(model, side=args.side, images=args.images, clicks=args.clicks, negatives=negatives)
        bare_calls(model, side=args.side, images=1, clicks=args.clicks, negatives=negatives)()  # warm up
        whole, alone = [], []
        for number in range(args.repeats):
            out = folder / f"store-{number}"
            whole.append(seconds_of(lambda out=out: generate_proposals(points, folder, proposer, out)))
            alone.append(seconds_of(bare))
    ratios = [all_of_it / calls for all_of_it, calls in zip(whole, alone, strict=True)]
    figures = {
        "side": args.side,
        "clicks": args.clicks,
        "seconds_per_image": [round(value / args.images, 2) for value in whole],
        "encoder_and_decoder_alone": [round(value / args.images, 2) for value in alone],
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(value, 3) for value in ratios],
    }
    print(json.dumps(figures))  # noqa: T201 - its product
    return 0


if __name__ == "__main__":
    sys.exit(main())
