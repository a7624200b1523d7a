"""From clicks to masks: propose, train, label, and hand the labels on.

Runs as it is on four small scenes that sapnet draws; put your own points file and image folder instead.

    python examples/clicks_to_masks.py OUT_FOLDER [CONFIG.yaml]
"""

import sys
from pathlib import Path

import sapnet
from sapnet.data.scenes import write_scenes


def main(out: Path, config: Path | None = None) -> None:
    write_scenes(out / "scenes", num_train=4, num_val=0)
    images = out / "scenes" / "images"
    points = sapnet.load_points(out / "scenes" / "points_train.json")
    print(points)

    # What is wrong with the clicks or the images, all at once, before anything is computed.
    found = sapnet.check_points(points, images)
    print(*found["problems"], *found["warnings"], sep="\n")

    proposals = sapnet.propose(points, images, out=out / "proposals", config=config)
    run = sapnet.train(points, images, proposals, out=out / "run", config=config)
    labels = sapnet.label(run, out=out / "labels.json")

    for image in labels:
        print(image, *zip(image.class_names, image.scores.round(2).tolist(), strict=True))
        # image.masks is (n, height, width) bool; image.boxes is (n, 4) as x, y, x, y.

    # Measuring needs ground truth, which training never sees.
    figures = sapnet.evaluate(out / "scenes" / "instances_train.json", labels=labels, proposals=proposals)
    print("mask mIoU", figures["selected"]["mask_miou"]["all"])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
