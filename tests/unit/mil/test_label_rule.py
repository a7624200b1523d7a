from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import label_rule as oracle
from oracles.random_bags import random_case
from sapnet.mil.exclusion import exclude_neighbours
from sapnet.mil.expected_overlap import expected_overlap, proposal_belief
from sapnet.mil.label_rule import (
    PAPER_RULE,
    LabelRule,
    choose_by_rule,
    needed_share,
    promised_overlap,
    voted_masks,
    with_votes,
)
from sapnet.mil.pseudo_masks import map_to_masks
from sapnet.mil.selection import best_valid_index, take_rows
from sapnet.ops import masks as mask_operations
from sapnet.structures import Selection


def labels_of(case, index, scores, ranks=()):
    boxes = take_rows(case.bags.boxes, index, absent=0.0)
    picks = Selection(boxes, index, scores.new_zeros(len(index)), scores.new_ones(len(index)))
    return map_to_masks(picks, case.bags, scores, case.prompts, ranks=ranks)


def half(votes):
    return torch.full((len(votes),), 0.5, dtype=votes.dtype)


def cells_of(mask):
    return {tuple(cell) for cell in mask.nonzero().tolist()}


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    num_prompts=st.integers(0, 5),
    num_proposals=st.integers(1, 6),
    sharpness=st.sampled_from([0.0, 1.0, 6.0]),
)
def test_voted_labels_equal_the_loop(seed, num_prompts, num_proposals, sharpness):
    case = random_case(seed, num_prompts=num_prompts, num_proposals=num_proposals)
    case.bags.masks[torch.rand(num_prompts, num_proposals) < 0.2] = False
    case.bags.masks[~case.bags.valid] = False
    scores = torch.rand(num_prompts, num_proposals, dtype=torch.float64)
    votes = (scores * sharpness).softmax(dim=1).masked_fill(~case.bags.valid, 0.0)
    votes = votes / votes.sum(dim=1, keepdim=True).clamp_min(1e-12)
    own = labels_of(case, best_valid_index(scores, case.bags.valid), scores, ranks=(1, 2))
    needed = 0.2 + 0.3 * torch.rand(num_prompts, dtype=torch.float64)
    found = with_votes(own, votes, needed, case.bags, mask_stride=4)
    assert torch.equal(found.mask_valid, own.mask_valid)
    assert torch.equal(found.masks[:, 1:], own.masks[:, 1:])
    for g in range(num_prompts):
        mine = cells_of(own.masks[g, 0]) if own.mask_valid[g, 0] else None
        bag = [cells_of(mask) for mask in case.bags.masks[g]]
        expected = oracle.voted_label(bag, votes[g].tolist(), needed[g].item()) if mine is not None else None
        if expected is None:
            assert torch.equal(found.masks[g, 0], own.masks[g, 0])
            assert torch.equal(found.boxes[g], own.boxes[g])
        else:
            assert cells_of(found.masks[g, 0]) == expected
            assert found.boxes[g].tolist() == oracle.bounds(expected, 4)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), num_prompts=st.integers(0, 5), num_proposals=st.integers(1, 6))
def test_promised_overlaps_equal_the_loop(seed, num_prompts, num_proposals):
    case = random_case(seed, num_prompts=num_prompts, num_proposals=num_proposals)
    case.bags.masks[torch.rand(num_prompts, num_proposals) < 0.2] = False
    belief = torch.rand(num_prompts, num_proposals, dtype=torch.float64).softmax(dim=1)
    labels = case.bags.masks[:, 0]
    if num_prompts:
        labels, _ = voted_masks(labels, belief, half(belief), case.bags)
    found = promised_overlap(labels, belief, case.bags)
    assert ((found >= 0) & (found <= 1)).all()
    for g in range(num_prompts):
        bag = [cells_of(mask) for mask in case.bags.masks[g]]
        expected = oracle.promised(cells_of(labels[g]), bag, belief[g].tolist())
        assert found[g].item() == pytest.approx(expected)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), num_prompts=st.integers(0, 5), large=st.sampled_from([0.1, 0.3, 0.5]))
def test_the_needed_share_equals_the_loop(seed, num_prompts, large):
    case = random_case(seed, num_prompts=num_prompts)
    scores = torch.rand(num_prompts, 4, dtype=torch.float64)
    areas = 96 * 128 * torch.rand(num_prompts, 4, dtype=torch.float64) ** 4
    bags = replace(case.bags, area=areas)
    rule = LabelRule(0.0, 0.5, vote=True, vote_share_large=large)
    choice = choose_by_rule(scores, bags, case.prompts.image_index, case.image_sizes, rule)
    for g in range(num_prompts):
        expected = oracle.needed(choice.belief[g].tolist(), areas[g].tolist(), 96 * 128, large)
        assert choice.needed[g].item() == pytest.approx(expected)


def test_a_large_object_needs_less_of_the_weight():
    belief, images = torch.full((5, 4), 0.25), torch.full((5,), 10_000.0)
    sides = torch.tensor([1.0, 5.0, (5 * 30) ** 0.5, 30.0, 90.0])
    areas = sides[:, None].expand(5, 4) ** 2
    found = needed_share(belief, areas, images, large=0.3)
    # Sides of 1, 5, 12.2 (halfway between 5 and 30 by their logarithms), 30 and 90 % of the image's.
    assert found.tolist() == pytest.approx([0.5, 0.5, 0.4, 0.3, 0.3])
    assert needed_share(belief, areas, images, large=0.5).tolist() == [0.5] * 5
    assert needed_share(torch.zeros(1, 0), torch.zeros(1, 0), images[:1], large=0.3).tolist() == [0.5]


def test_few_voices_need_half_of_the_weight_however_large_the_object_is():
    images, areas = torch.full((4,), 10_000.0), torch.full((4, 6), 2_500.0)
    halfway = (2.5 * 4.0) ** 0.5  # voices, by their logarithms
    belief = torch.stack([voices(count) for count in (1.0, 2.5, halfway, 6.0)])
    found = needed_share(belief, areas, images, large=0.3)
    assert found.tolist() == pytest.approx([0.5, 0.5, 0.4, 0.3])


def voices(count):
    """Six shares that are as concentrated as that many equal ones: one large, five equal."""
    # a^2 + (1 - a)^2 / 5 = 1 / count, for the share a of the first.
    first = (1 + (5 * (6 / count - 1)) ** 0.5) / 6
    return torch.tensor([first, *[(1 - first) / 5] * 5])


def test_the_share_of_a_large_object_decides_between_a_core_and_the_whole():
    case = nested(4, 8, 12, size=24)
    votes = torch.tensor([[0.6, 0.35, 0.05]])
    own = labels_of(case, torch.tensor([0]), votes)
    for needed, place in ((0.5, 0), (0.3, 1), (0.04, 2)):
        found = with_votes(own, votes, torch.tensor([needed]), case.bags, mask_stride=4)
        assert torch.equal(found.masks[0, 0], case.bags.masks[0, place])


def test_what_is_believed_to_be_one_mask_promises_that_overlap():
    case = nested(2, 4, 8)
    belief = torch.tensor([[0.0, 0.75, 0.25]])
    promised = [promised_overlap(mask[None], belief, case.bags).item() for mask in case.bags.masks[0]]
    # Areas 4, 16 and 64, each inside the next.
    expected = [0.75 * 4 / 16 + 0.25 * 4 / 64, 0.75 + 0.25 * 16 / 64, 0.75 * 16 / 64 + 0.25]
    assert promised == pytest.approx(expected)
    nothing = torch.zeros_like(case.bags.masks[:, 0])
    assert promised_overlap(nothing, belief, case.bags).item() == 0


def nested(part, whole, group, size=12):
    """A bag of three squares from the same corner, with the given sides in cells."""
    case = random_case(1, num_prompts=1, num_proposals=3)
    masks = torch.zeros(1, 3, size, size, dtype=torch.bool)
    for place, side in enumerate((part, whole, group)):
        masks[0, place, 2 : 2 + side, 3 : 3 + side] = True
    return replace(case, bags=replace(case.bags, masks=masks, valid=torch.ones(1, 3, dtype=torch.bool)))


def test_what_two_of_three_nested_masks_cover_is_the_middle_one():
    case = nested(2, 5, 8)
    own = labels_of(case, torch.tensor([2]), torch.tensor([[0.2, 0.3, 0.5]]))
    found = with_votes(own, torch.tensor([[0.3, 0.3, 0.4]]), torch.tensor([0.5]), case.bags, mask_stride=4)
    assert torch.equal(found.masks[0, 0], case.bags.masks[0, 1])
    assert found.boxes.tolist() == [[12.0, 8.0, 32.0, 28.0]]
    assert torch.equal(own.masks[0, 0], case.bags.masks[0, 2])  # the given labels stay as they are


def test_half_of_the_weight_is_not_enough():
    case = nested(2, 5, 5)
    votes = torch.tensor([[0.5, 0.25, 0.25]])
    own = labels_of(case, torch.tensor([1]), votes)
    found = with_votes(own, votes, half(votes), case.bags, mask_stride=4)
    assert torch.equal(found.masks[0, 0], case.bags.masks[0, 0])  # two squares of a quarter each are out
    apart = case.bags.masks.clone()
    apart[0, 0] = False
    apart[0, 0, 9:11, 9:11] = True
    bags = replace(case.bags, masks=apart)
    found = with_votes(
        labels_of(replace(case, bags=bags), torch.tensor([1]), votes), votes, half(votes), bags, mask_stride=4
    )
    assert torch.equal(found.masks[0, 0], apart[0, 1])  # no cell has more than half: the own mask stays


def test_a_sliver_shared_by_masks_that_part_otherwise_is_no_label():
    masks = torch.zeros(1, 3, 12, 12, dtype=torch.bool)
    masks[0, 0, 0:6, 0:6] = masks[0, 1, 5:11, 5:11] = masks[0, 2, 5:11, 0:6] = True
    case = nested(1, 2, 3)
    bags = replace(case.bags, masks=masks)
    case = replace(case, bags=bags)
    votes = torch.tensor([[0.34, 0.33, 0.33]])
    own = labels_of(case, torch.tensor([0]), votes)
    found = with_votes(own, votes, half(votes), bags, mask_stride=4)
    assert torch.equal(found.masks, own.masks)
    assert torch.equal(found.boxes, own.boxes)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    exclusion=st.sampled_from([0.0, 0.5]),
    temperature=st.sampled_from([0.0, 0.5]),
)
def test_a_rule_is_its_parts_one_after_the_other(seed, exclusion, temperature):
    case = random_case(seed, num_prompts=4, num_proposals=5)
    scores = torch.rand(4, 5, dtype=torch.float64)
    images = case.prompts.image_index
    choice = choose_by_rule(
        scores, case.bags, images, case.image_sizes, LabelRule(exclusion, temperature, vote=True)
    )
    expected = scores
    if exclusion:
        expected = exclude_neighbours(scores, case.bags, images, weight=exclusion)
    assert torch.equal(choice.scores, expected)
    ranking = expected
    if temperature:
        ranking = expected_overlap(expected, case.bags, temperature=temperature)
    assert torch.equal(choice.proposal_index, best_valid_index(ranking, case.bags.valid))
    assert choice.is_vote is (temperature > 0)
    belief = proposal_belief(expected, case.bags.valid, temperature=temperature or 1.0)
    assert torch.equal(choice.belief, belief)
    if not temperature:
        shares = expected.masked_fill(~case.bags.valid, 0.0)
        torch.testing.assert_close(belief, shares / shares.sum(dim=1, keepdim=True).clamp_min(1e-12))


@pytest.mark.parametrize(
    ("rule", "plain"),
    [
        (PAPER_RULE, True),
        (LabelRule(vote=True), True),
        (LabelRule(exclusion=0.1), False),
        (LabelRule(overlap_temperature=0.5), False),
    ],
)
def test_only_exclusion_and_expected_overlap_change_what_scores_choose(rule, plain):
    assert rule.is_highest_score is plain


def test_prompts_are_taken_a_few_at_a_time(monkeypatch):
    case = random_case(4, num_prompts=7)
    scores = torch.rand(case.bags.valid.shape)
    choice = choose_by_rule(
        scores, case.bags, case.prompts.image_index, case.image_sizes, LabelRule(0.0, 0.5, vote=True)
    )
    own = labels_of(case, choice.proposal_index, scores)
    whole = with_votes(own, choice.belief, choice.needed, case.bags, mask_stride=4)
    promised = promised_overlap(whole.masks[:, 0], choice.belief, case.bags)
    monkeypatch.setattr(mask_operations, "_CHUNK_ELEMENTS", 2 * case.bags.masks[0].numel())
    parts = with_votes(own, choice.belief, choice.needed, case.bags, mask_stride=4)
    assert torch.equal(parts.masks, whole.masks)
    assert torch.equal(parts.boxes, whole.boxes)
    assert torch.equal(promised_overlap(whole.masks[:, 0], choice.belief, case.bags), promised)


@pytest.mark.parametrize("count", [4, 20, 22, 36])
def test_exactly_half_of_the_weight_of_equal_votes_is_no_majority(count):
    case = random_case(1, num_prompts=1, num_proposals=count)
    masks = torch.zeros(1, count, 6, 6, dtype=torch.bool)
    masks[0, : count // 2, :3], masks[0, count // 2 :, 3:] = True, True
    bags = replace(case.bags, masks=masks, valid=torch.ones(1, count, dtype=torch.bool))
    votes = proposal_belief(torch.ones(1, count), bags.valid, temperature=0.5)
    own = labels_of(replace(case, bags=bags), torch.tensor([0]), torch.ones(1, count))
    assert torch.equal(with_votes(own, votes, half(votes), bags, mask_stride=4).masks, own.masks)


def test_no_prompts_no_proposals_and_many_prompts_are_legal():
    for prompts, proposals in [(0, 3), (3, 0), (600, 6)]:
        case = random_case(2, num_prompts=prompts, num_proposals=proposals)
        scores = torch.rand(prompts, proposals)
        rule = LabelRule(exclusion=0.25, overlap_temperature=0.5, vote=True)
        choice = choose_by_rule(scores, case.bags, case.prompts.image_index, case.image_sizes, rule)
        assert choice.proposal_index.shape == (prompts,)
        assert (choice.proposal_index >= 0).any().item() == (prompts > 0 and proposals > 0)
        own = labels_of(case, choice.proposal_index, choice.scores)
        voted = with_votes(own, choice.belief, choice.needed, case.bags, mask_stride=4)
        assert torch.equal(voted.mask_valid, own.mask_valid)
        assert promised_overlap(voted.masks[:, 0], choice.belief, case.bags).shape == (prompts,)
