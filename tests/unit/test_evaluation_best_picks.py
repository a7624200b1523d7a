"""The best proposal of every click."""

import numpy as np
import pytest

from proposal_builders import instance, instance_set
from sapnet.data.rle import encode_mask
from sapnet.errors import DataError
from sapnet.evaluation.bag_picks import EvaluatedObjects, measure_bags
from sapnet.evaluation.best_picks import best_picks
from sapnet.evaluation.matching import to_rles
from sapnet.proposals.proposer import ImagePrompts, collect_proposals

SIZE = (12, 16)


class Bags:
    """Bags in memory."""

    def __init__(self, *proposals):
        self.by_image = {item.image_id: item for item in proposals}

    def __contains__(self, image_id):
        return image_id in self.by_image

    def of_image(self, image_id):
        return self.by_image[image_id]


def bags_and_truth(seed):
    """Random bags of three clicks, the second of them empty, the fourth object without a click."""
    draws = np.random.default_rng(seed)
    masks = draws.random((7, *SIZE)) < 0.5
    truth = draws.random((4, *SIZE)) < 0.5
    owner = [0, 0, 0, 2, 2, 2, 2]
    asked = ImagePrompts(1, np.array([11, 12, 13]), np.full((3, 2), 2.0), np.zeros(3, dtype=np.int64))
    bags = collect_proposals(
        asked,
        SIZE,
        prompt_index=owner,
        counts=[encode_mask(mask) for mask in masks],
        scores=draws.random(7).tolist(),
        kinds=["point"] * 7,
    )
    image = {"id": 1, "file_name": "a.png", "width": SIZE[1], "height": SIZE[0]}
    annotations = [instance(11 + row, mask) for row, mask in enumerate(truth)]
    return bags, truth, instance_set(annotations, images=[image])


@pytest.mark.parametrize("most", [2, 12])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_every_bag_is_that_of_a_loop_over_pixels(seed, most):
    bags, truth, instances = bags_and_truth(seed)
    found = best_picks(Bags(bags), instances, max_proposals=most)
    assert sorted(found) == [11, 13]
    for prompt, key in ((0, 11), (2, 13)):
        masks = bags.masks(bags.of_prompt(prompt))[:most]
        overlaps = [(mask & truth[prompt]).sum() / (mask | truth[prompt]).sum() for mask in masks]
        assert found[key][0] == int(np.argmax(overlaps))
        assert found[key][1] == pytest.approx(max(overlaps))


def test_images_without_bags_are_left_out():
    _, _, instances = bags_and_truth(0)
    assert best_picks(Bags(), instances, max_proposals=3) == {}


@pytest.mark.parametrize("most", [1, 2, 12])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_picks_are_what_evaluation_calls_the_oracle(seed, most):
    bags, truth, instances = bags_and_truth(seed)
    count = len(truth)
    objects = EvaluatedObjects(
        annotation_ids=np.asarray(instances.annotation_ids),
        image_ids=np.ones(count, dtype=np.int64),
        labels=np.zeros(count, dtype=np.int64),
        masks=tuple(to_rles(list(instances.counts), np.full((count, 2), SIZE))),
        boxes=np.zeros((count, 4)),
        clicks=np.full((count, 2), np.nan),
    )
    oracle = measure_bags(Bags(bags), objects, max_proposals=most).picks["oracle"].mask_iou
    found = best_picks(Bags(bags), instances, max_proposals=most)
    # An object without a proposal counts with overlap 0.
    assert sum(overlap for _, overlap in found.values()) / count == pytest.approx(oracle.mean())
    assert oracle.mean() > 0


def test_proposals_of_another_size_are_refused():
    bags, _, _ = bags_and_truth(0)
    image = {"id": 1, "file_name": "a.png", "width": 8, "height": 6}
    instances = instance_set([instance(11, np.ones((6, 8), dtype=bool))], images=[image])
    with pytest.raises(DataError, match=r"made at 16 x 12 pixels .* the ground truth is 8 x 6"):
        best_picks(Bags(bags), instances, max_proposals=3)
