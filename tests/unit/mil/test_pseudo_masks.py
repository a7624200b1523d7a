import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import pseudo_masks as oracle
from oracles.random_bags import random_case
from sapnet.mil.pseudo_masks import map_to_masks
from sapnet.mil.selection import best_valid_index, take_rows
from sapnet.structures import Selection


def select_best(case, scores):
    index = best_valid_index(scores, case.bags.valid)
    boxes = take_rows(case.bags.boxes, index, absent=0.0)
    return Selection(boxes, index, scores.new_zeros(len(index)), scores.new_ones(len(index)))


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    num_prompts=st.integers(0, 5),
    num_proposals=st.integers(1, 6),
    ranks=st.sampled_from([(1, 3, 5), (0, 2), ()]),
    respect=st.booleans(),
)
def test_masks_equal_the_loop(seed, num_prompts, num_proposals, ranks, respect):
    case = random_case(seed, num_prompts=num_prompts, num_proposals=num_proposals)
    case.bags.masks[torch.rand(num_prompts, num_proposals) < 0.2] = False
    scores = torch.rand(num_prompts, num_proposals, dtype=torch.float64).round(decimals=1)
    other = torch.rand(num_prompts, num_proposals, dtype=torch.float64)
    selection = select_best(case, other)
    labels = map_to_masks(selection, case.bags, scores, case.prompts, ranks=ranks, respect_neighbours=respect)
    assert labels.masks.shape[:2] == (num_prompts, 1 + len(ranks))
    for g in range(num_prompts):
        expected = oracle.masks_of(
            int(selection.proposal_index[g]),
            scores[g].tolist(),
            case.bags.valid[g].tolist(),
            case.bags.covered_points[g].tolist(),
            (~case.bags.masks[g].flatten(1).any(1)).tolist(),
            ranks,
            respect_neighbours=respect,
        )
        assert labels.mask_valid[g].tolist() == [m is not None for m in expected]
        for q, m in enumerate(expected):
            assert m is None or torch.equal(labels.masks[g, q], case.bags.masks[g, m])


def test_labels_boxes_and_images_are_those_of_the_prompts_and_the_selection():
    case = random_case(3)
    selection = select_best(case, torch.rand(5, 4).double())
    labels = map_to_masks(selection, case.bags, torch.rand(5, 4).double(), case.prompts)
    assert torch.equal(labels.labels, case.prompts.labels)
    assert torch.equal(labels.boxes, selection.boxes)
    assert torch.equal(labels.image_index, case.prompts.image_index)


def test_an_empty_picked_mask_leaves_the_prompt_without_any():
    case = random_case(3)
    case.bags.masks[:, 0] = False
    picked = Selection(case.bags.boxes[:, 0], torch.zeros(5, dtype=torch.long), torch.zeros(5), torch.ones(5))
    labels = map_to_masks(picked, case.bags, torch.rand(5, 4).double(), case.prompts)
    assert not labels.mask_valid.any()


def test_bags_without_proposals_and_a_thousand_prompts_are_legal():
    for prompts, proposals in [(3, 0), (1000, 6)]:
        case = random_case(2, num_prompts=prompts, num_proposals=proposals)
        scores = torch.rand(prompts, proposals).double()
        labels = map_to_masks(select_best(case, scores), case.bags, scores, case.prompts)
        assert labels.masks.shape[:2] == (prompts, 4)
        assert labels.mask_valid.any().item() == (proposals > 0)
