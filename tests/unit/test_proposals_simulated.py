"""The simulated SAM: what its three masks are, and that clicks do not disturb each other."""

from __future__ import annotations

import numpy as np
import pytest

from proposal_builders import box_mask, instance, instance_set, prompts_at, same_proposals
from sapnet.proposals.proposer import Proposer
from sapnet.proposals.simulated import GROUP, PART, WHOLE, SimulatedProposer, simulate_proposals
from sapnet.proposals.simulated_masks import component_at, disturb_boundary, draw_part, smooth_noise

SIZE = (120, 160)
IMAGES = [{"id": 1, "file_name": "a.png", "width": 160, "height": 120}]
LEFT = box_mask(SIZE, 20, 30, 60, 90)
RIGHT = box_mask(SIZE, 61, 30, 100, 90)
FAR = box_mask(SIZE, 120, 40, 150, 80)


def scene(**first):
    """Two touching objects of a class, one of another class touching them, one of the first far away."""
    other = box_mask(SIZE, 20, 91, 60, 115)
    annotations = [
        instance(1, LEFT, **first),
        instance(2, RIGHT),
        instance(3, FAR),
        instance(4, other, category_id=7),
        instance(5, box_mask(SIZE, 0, 0, 160, 20), iscrowd=1),
    ]
    return instance_set(annotations, images=IMAGES)


def of_kind(found, kind, prompt=0):
    rows = found.of_prompt(prompt)
    return found.masks(rows)[found.kinds[rows].index(kind)]


def bags(seeds=range(12), **first):
    """Kind to the masks that many seeds draw for the first object."""
    drawn = [
        SimulatedProposer(scene(**first), seed=seed).propose(None, prompts_at([[40, 60]])) for seed in seeds
    ]
    return {kind: np.stack([of_kind(found, kind) for found in drawn]) for kind in (PART, WHOLE, GROUP)}


def iou(masks, target):
    return (masks & target).sum((1, 2)) / (masks | target).sum((1, 2))


def test_a_bag_is_a_part_a_whole_and_a_group_by_falling_score():
    found = SimulatedProposer(scene()).propose(None, prompts_at([[40, 60], [80, 60], [130, 60]]))
    for i in range(3):
        rows = found.of_prompt(i)
        assert sorted(found.kinds[rows]) == sorted((PART, WHOLE, GROUP))
        assert np.all(np.diff(found.scores[rows]) <= 0)
        assert np.all((found.scores[rows] > 0) & (found.scores[rows] < 1))


def test_every_mask_covers_its_click():
    for masks in bags().values():
        assert masks[:, 60, 40].all()


def test_the_whole_is_near_the_object_but_for_a_few_failures():
    overlap = np.sort(iou(bags(range(30))[WHOLE], LEFT))
    assert np.median(overlap) > 0.8
    assert overlap.max() < 0.99


def test_the_part_is_a_smaller_piece_of_the_object():
    parts = bags()[PART]
    share = parts.sum((1, 2)) / LEFT.sum()
    assert np.all((share > 0.05) & (share < 0.8))
    assert np.all((parts & LEFT).sum((1, 2)) / parts.sum((1, 2)) > 0.7)


def test_the_group_holds_touching_objects_of_the_class_only():
    groups = bags()[GROUP]
    assert np.all((groups & RIGHT).sum((1, 2)) / RIGHT.sum() > 0.6)
    assert not (groups & FAR).any()
    assert np.all(groups[:, 95:, 25:55].mean((1, 2)) < 0.5)


def test_the_group_of_a_lonely_object_grows_into_the_background():
    found = SimulatedProposer(scene()).propose(None, prompts_at([[130, 60]], ids=[3]))
    group = of_kind(found, GROUP)
    assert group.sum() > 1.1 * FAR.sum()
    assert (group & FAR).sum() > 0.7 * FAR.sum()


def test_listed_parts_are_used():
    part = box_mask(SIZE, 30, 50, 50, 70)
    listed = [instance(0, part)["segmentation"]]
    assert iou(bags(parts=listed)[PART], part).mean() > 0.75


def test_parts_follow_the_colours_of_the_image():
    strip = box_mask(SIZE, 34, 30, 46, 90)
    image = np.zeros((*SIZE, 3), dtype=np.uint8)
    image[strip] = (200, 30, 30)
    overlap = []
    for pixels in (image, None):
        proposers = [SimulatedProposer(scene(), seed=seed) for seed in range(10)]
        parts = [of_kind(item.propose(pixels, prompts_at([[40, 60]])), PART) for item in proposers]
        overlap.append(iou(np.stack(parts), strip).mean())
    assert overlap[0] > overlap[1] + 0.1


def test_crowds_and_unknown_ids_get_empty_bags():
    found = SimulatedProposer(scene()).propose(None, prompts_at([[5, 5], [5, 5]], ids=[5, 99]))
    assert found.num_proposals == 0
    assert found.annotation_ids.tolist() == [5, 99]


def test_a_click_gets_the_same_masks_whatever_the_other_clicks_are():
    proposer = SimulatedProposer(scene(), seed=3)
    alone = proposer.propose(None, prompts_at([[80, 60]], ids=[2]))
    among = proposer.propose(None, prompts_at([[130, 60], [80, 60], [40, 60]], ids=[3, 2, 1]))
    assert alone.counts == among.counts[among.of_prompt(1)]
    assert np.array_equal(alone.scores, among.scores[among.of_prompt(1)])


def test_seeds_differ_and_repeat():
    prompts = prompts_at([[40, 60]])
    first = SimulatedProposer(scene(), seed=0).propose(None, prompts)
    assert same_proposals(first, SimulatedProposer(scene(), seed=0).propose(None, prompts))
    assert first.counts != SimulatedProposer(scene(), seed=1).propose(None, prompts).counts


@pytest.mark.parametrize("xy", [[0, 0], [159.9, 119.9], [-4, 300]])
def test_a_click_off_its_object_counts_as_the_nearest_pixel(xy):
    found = SimulatedProposer(scene()).propose(None, prompts_at([xy]))
    assert found.num_proposals == 3


@pytest.mark.parametrize("box", [(3, 3, 4, 4), (0, 0, 2, 1), (0, 0, 160, 120), (159, 0, 160, 120)])
def test_tiny_and_full_objects_work(box):
    objects = instance_set([instance(-7, box_mask(SIZE, *box))], images=IMAGES)
    found = SimulatedProposer(objects).propose(None, prompts_at([[box[0] + 0.5, box[1] + 0.5]], ids=[-7]))
    assert found.num_proposals == 3
    assert (found.areas > 0).all()


def test_an_empty_mask_and_no_prompts_give_nothing():
    objects = instance_set([instance(1, np.zeros(SIZE, dtype=bool))], images=IMAGES)
    assert SimulatedProposer(objects).propose(None, prompts_at([[4, 4]])).num_proposals == 0
    assert SimulatedProposer(objects).propose(None, prompts_at(np.zeros((0, 2)))).num_proposals == 0


def test_its_name_and_kinds_say_simulated():
    assert isinstance(SimulatedProposer(scene()), Proposer)
    assert all("simulated" in name for name in (SimulatedProposer.name, PART, WHOLE, GROUP))


def test_simulate_proposals_goes_through_the_images_of_the_points():
    from sapnet.data.point_sampling import sample_points

    objects = scene()
    points = sample_points(objects, "center", 0)
    (found,) = simulate_proposals(objects, points, seed=0)
    assert found.image_id == 1
    assert found.num_proposals == 12


def test_a_part_is_connected_and_inside(rng):
    for _ in range(10):
        part = draw_part(LEFT, 60, 40, None, rng)
        assert part[60, 40]
        assert not (part & ~LEFT).any()
        assert np.array_equal(component_at(part, 60, 40), part)


def test_small_objects_lose_more_overlap_than_large_ones(rng):
    def loss(side):
        mask = np.zeros((3 * side, 3 * side), dtype=bool)
        mask[side : 2 * side, side : 2 * side] = True
        moved = np.stack([disturb_boundary(mask, side * side, 0.02, rng) for _ in range(10)])
        return 1 - iou(moved, mask).mean()

    assert loss(8) > loss(64)


def test_noise_has_a_deviation_near_one_and_the_asked_shape(rng):
    field = smooth_noise((200, 300), 7.0, rng)
    assert field.shape == (200, 300)
    assert 0.8 < field.std() < 1.25
