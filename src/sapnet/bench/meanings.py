"""What each table of a benchmark shows, for people."""

from __future__ import annotations

MEANING: dict[str, str] = {
    "stages": "SAM-top1, two-stage, end to end and full supervision (the paper's tables 1 and 3).",
    "components": "One stage after the other, in the paper's form, in the released code's, and what the "
    "default has instead (table 4). Labels are those of a selection trained alone unless a row says end to "
    "end; alternates (MPS) teach the segmentation branch alone, so they have no effect without it.",
    "box-mining": "Thresholds of box mining (table 5), on the given settings, with the picks as labels: the "
    "default labels by expected overlap, where mined boxes have no say. The mined box teaches nothing "
    "where mining follows the refine pass, so all rows pick with the networks of one training.",
    "positives-negatives": "Generated positives and negatives (table 6), on the given settings.",
    "part-problem": "Gap and box mIoU (table 7): how much more compact picks are than objects.",
    "prompts": "Where was clicked, what the proposer is asked with, and what happens when clicks are moved "
    "(a normal displacement in x and in y, as a share of the root of the box's area) or have a wrong class. "
    "The simulated SAM answers a click beside the object as if it were on its nearest pixel. The built-in "
    "proposer is asked about a quarter of the images, another one for each seed; steps stay as many.",
    "budget": "Growing numbers of clicked images, nested for each seed, all trained for the same number of "
    "steps. Differences are on the images that both rows have.",
    "schedule": "How AP, and the share of it that labels teach, grow with the time that a SOLOv2 is trained; "
    "full supervision is that of the same length.",
    "retrain": "torchvision's Mask R-CNN on exported labels and on ground truth, the same schedule, all but "
    "the ImageNet backbone from random weights; the backbone is fixed, as in the default.",
    "presets": "The paper's form of every stage (`-c paper`) beside the default, on the same backbone, "
    "images and schedule.",
}
"""By the name of the experiment."""
