"""Bag quality of two clicks, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from proposal_builders import box_mask, instance, instance_set, prompts_at
from sapnet.data.rle import encode_mask
from sapnet.proposals.proposer import collect_proposals
from sapnet.proposals.quality import bag_quality

SIZE = (48, 64)


def test_two_clicks_and_an_empty_bag_by_hand():
    # Object 1: 10 x 10 = 100 pixels. Object 2: 40 x 40 = 1600 pixels (medium). Object 3: no proposal.
    objects = instance_set(
        [
            instance(1, box_mask(SIZE, 0, 0, 10, 10)),
            instance(2, box_mask(SIZE, 10, 4, 50, 44)),
            instance(3, box_mask(SIZE, 60, 0, 64, 4)),
            instance(4, box_mask(SIZE, 0, 0, 64, 48), iscrowd=1),
        ]
    )
    corner = box_mask(SIZE, 0, 0, 10, 10)
    corner[:5, :5] = False
    proposals = {
        # first 50 / 100, then 75 / 100 (its box is the object's), then 100 / 200
        0: [(box_mask(SIZE, 0, 0, 10, 5), 0.9), (corner, 0.8), (box_mask(SIZE, 0, 0, 20, 10), 0.7)],
        # first 400 / 1600, fourth exact
        1: [
            (box_mask(SIZE, 10, 4, 30, 24), 0.9),
            (box_mask(SIZE, 0, 46, 4, 48), 0.8),
            (box_mask(SIZE, 0, 46, 4, 48), 0.7),
            (box_mask(SIZE, 10, 4, 50, 44), 0.6),
        ],
    }
    rows = [(i, mask, score) for i, bag in proposals.items() for mask, score in bag]
    found = collect_proposals(
        prompts_at([[5, 5], [30, 24], [62, 2], [30, 30]]),
        SIZE,
        prompt_index=[row[0] for row in rows],
        counts=[encode_mask(row[1]) for row in rows],
        scores=[row[2] for row in rows],
        kinds=["a", "a", "b", "a", "b", "b", "b"],
    )
    quality = bag_quality([found], objects)
    whole = quality["all"]
    assert whole["clicks"] == 3
    assert whole["mask"]["top1"] == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert whole["mask"]["best_of_3"] == pytest.approx((0.75 + 0.25 + 0) / 3)
    assert whole["mask"]["best_of_6"] == pytest.approx((0.75 + 1 + 0) / 3)
    assert whole["mask"]["oracle"] == whole["mask"]["best_of_12"] == whole["mask"]["best_of_6"]
    assert whole["box"]["top1"] == pytest.approx((0.5 + 0.25) / 3)
    assert whole["box"]["best_of_3"] == pytest.approx((1 + 0.25) / 3)
    assert whole["below_half"] == pytest.approx(1 / 3)
    assert quality["small"]["clicks"] == 2
    assert quality["medium"]["mask"] == pytest.approx(
        {"top1": 0.25, "best_of_3": 0.25, "best_of_6": 1, "best_of_12": 1, "oracle": 1}
    )
    assert quality["large"] == {
        "clicks": 0,
        "mask": dict.fromkeys(whole["mask"]),
        "box": dict.fromkeys(whole["box"]),
        "below_half": None,
    }
    assert quality["proposals_per_click"] == pytest.approx(7 / 3)
    assert quality["kinds"]["a"]["share"] == pytest.approx(3 / 7)
    assert quality["kinds"]["a"]["share_of_top1"] == 1
    assert quality["kinds"]["a"]["mask_oracle"] == pytest.approx((0.75 + 0.25 + 0) / 3)
    kind = quality["kinds"]["b"]
    assert kind["mask_mean"] == pytest.approx((0.5 + 0 + 0 + 1) / 4)
    # Of click 1 the third proposal, of click 2 the last three: the first of these misses.
    assert kind["all"]["mask"] == pytest.approx({"top1": (0.5 + 0 + 0) / 3, "oracle": (0.5 + 1 + 0) / 3})
    assert kind["all"]["box"] == pytest.approx({"top1": (0.5 + 0 + 0) / 3, "oracle": (0.5 + 1 + 0) / 3})
    assert kind["medium"]["mask"] == pytest.approx({"top1": 0, "oracle": 1})
    assert kind["large"]["mask"] == {"top1": None, "oracle": None}
    part = bag_quality([found], objects, only={2, 3})
    assert part["all"]["clicks"] == 2
    assert part["all"]["mask"]["oracle"] == pytest.approx((1 + 0) / 2)
    assert part["proposals_per_click"] == 2


def test_no_images_give_no_figures():
    quality = bag_quality([], instance_set([]))
    assert quality["all"]["clicks"] == 0
    assert quality["all"]["mask"]["top1"] is None
    assert quality["proposals_per_click"] is None
    assert np.size(quality["kinds"]) == 1
    assert quality["kinds"] == {}
