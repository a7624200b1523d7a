from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import box_mining as oracle
from oracles import boxes as box_oracle
from oracles.random_bags import make_bags, random_case
from sapnet.mil.box_mining import mine_boxes
from sapnet.mil.selection import best_valid_index, take_rows
from sapnet.ops.boxes import box_areas
from sapnet.structures import Selection

THRESHOLDS = {"overlap_threshold": 0.6, "containing_threshold": 0.3}


def selection_of(boxes, index):
    count = len(index)
    return Selection(boxes, index, torch.full((count,), 0.5).double(), torch.ones(count).double())


def smallest_first(case):
    """The smallest proposal of every bag, so that there is something to mine."""
    index = best_valid_index(-box_areas(case.bags.boxes), case.bags.valid)
    return selection_of(take_rows(case.bags.boxes, index, absent=0.0), index)


def nested_boxes(case):
    """Every bag as boxes of similar size around one place, so that most of them can be merged."""
    base = torch.tensor([30.0, 30.0, 60.0, 60.0], dtype=torch.float64)
    outwards = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    growth = torch.rand(case.bags.boxes.shape, dtype=torch.float64) * 12
    return replace(case.bags, boxes=(base + outwards * growth).round())


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    num_prompts=st.integers(0, 8),
    candidates=st.integers(1, 6),
    by_score=st.booleans(),
    respect=st.booleans(),
)
def test_mining_equals_the_loop(seed, num_prompts, candidates, by_score, respect):
    case = random_case(seed, num_prompts=num_prompts, num_proposals=5)
    case.bags = nested_boxes(case)
    selection = smallest_first(case)
    scores = torch.rand(num_prompts, 5, dtype=torch.float64).round(decimals=1)
    mined = mine_boxes(
        selection,
        scores,
        case.bags,
        candidates=candidates,
        candidate_order="refine-score" if by_score else "proposer-score",
        respect_neighbours=respect,
        **THRESHOLDS,
    )
    for g in range(num_prompts):
        valid, covered = case.bags.valid[g].tolist(), case.bags.covered_points[g].tolist()
        mergeable = [v and not (respect and c) for v, c in zip(valid, covered, strict=True)]
        order = range(min(candidates, 5))
        if by_score:
            order = oracle.candidate_order(scores[g].tolist(), valid, candidates)
        proposals, box = case.bags.boxes[g].tolist(), selection.boxes[g].tolist()
        expected = oracle.mine(box, proposals, mergeable, order, tolerance=2.0, **THRESHOLDS)
        eligible = mergeable if any(mergeable) else valid
        index = int(selection.proposal_index[g])
        if expected != box or not (index < 0 or eligible[index]):
            index = box_oracle.nearest(expected, proposals, eligible)
        assert mined.proposal_index[g] == index
        if expected == box and index != selection.proposal_index[g]:
            expected = proposals[index]
        torch.testing.assert_close(mined.boxes[g], torch.tensor(expected, dtype=torch.float64))


def mine(box, proposals, index=0, scores=None, covered=None, **options):
    bags = make_bags([proposals], covered=covered)
    chosen = selection_of(torch.tensor([box], dtype=torch.float64), torch.tensor([index]))
    scores = torch.zeros(1, len(proposals)).double() if scores is None else torch.tensor([scores]).double()
    return mine_boxes(chosen, scores, bags, **options)


def test_a_box_larger_than_all_proposals_stays():
    mined = mine([0, 0, 20, 20], [[0, 0, 20, 20], [0, 0, 19, 20]])
    assert mined.boxes.tolist() == [[0, 0, 20, 20]]
    assert mined.proposal_index.tolist() == [0]


def test_a_proposal_that_covers_a_neighbours_click_is_not_merged():
    proposals = [[0, 0, 10, 10], [0, 0, 12, 12]]
    group = [[False, True]]
    assert mine([0, 0, 10, 10], proposals, covered=group).boxes.tolist() == [[0, 0, 10, 10]]
    merged = mine([0, 0, 10, 10], proposals, covered=group, respect_neighbours=False)
    assert merged.boxes[0, 2] > 11


def test_a_selected_group_proposal_is_replaced_by_one_that_covers_no_neighbour():
    proposals = [[0, 0, 12, 12], [0, 0, 10, 10]]
    replaced = mine([0, 0, 12, 12], proposals, covered=[[True, False]])
    assert (replaced.proposal_index.tolist(), replaced.boxes.tolist()) == ([1], [[0, 0, 10, 10]])
    kept = mine([0, 0, 12, 12], proposals, covered=[[True, True]])
    assert (kept.proposal_index.tolist(), kept.boxes.tolist()) == ([0], [[0, 0, 12, 12]])


def test_only_the_best_candidates_by_refine_score_are_tried():
    proposals = [[0, 0, 12, 12], [0, 0, 10, 10], [50, 50, 60, 60]]
    options = {"index": 1, "candidates": 1}
    assert mine([0, 0, 10, 10], proposals, scores=[0.9, 0.5, 0.1], **options).boxes[0, 2] > 11
    assert mine([0, 0, 10, 10], proposals, scores=[0.1, 0.5, 0.9], **options).boxes[0, 2] == 10
    by_proposer = mine(
        [0, 0, 10, 10], proposals, scores=[0.1, 0.5, 0.9], candidate_order="proposer-score", **options
    )
    assert by_proposer.boxes[0, 2] > 11


def test_a_contained_box_may_stick_out_by_the_tolerance():
    proposals = [[0, 0, 10, 10], [1, 1, 16, 16]]
    # Overlap 81 / (100 + 225 - 81) = .33: only containment can merge it.
    assert mine([0, 0, 10, 10], proposals).boxes[0, 2] > 10
    assert mine([0, 0, 10, 10], proposals, containing_tolerance=0.5).boxes[0, 2] == 10


def test_mining_is_one_pass_not_the_fix_point_of_repeated_passes():
    # After the first merge the selected box is larger, so a second pass would merge it again.
    box, proposals = [0.0, 0.0, 10.0, 10.0], [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 12.0, 12.0]]
    settings = {"tolerance": 2.0, **THRESHOLDS}
    once = mine(box, proposals).boxes[0, 2].item()
    assert once == oracle.mine(box, proposals, [True, True], [0, 1], **settings)[2]
    assert once < oracle.mine_to_fix_point(box, proposals, [True, True], [0, 1], **settings)[2]


def test_a_proposal_is_measured_against_the_one_merged_last_not_against_the_merged_box():
    # 12 x 12 is merged: the box has area 125. 11.4 x 11.4 = 130 is larger than that, not than 144.
    proposals = [[0, 0, 10, 10], [0, 0, 12, 12], [0, 0, 11.4, 11.4]]
    merged = mine([0, 0, 10, 10], proposals, candidate_order="proposer-score")
    assert torch.equal(merged.boxes, mine([0, 0, 10, 10], proposals[:2]).boxes)


def test_a_later_proposal_must_overlap_more_than_the_one_merged_before():
    # 11 x 11 is merged with overlap .83; 14 x 14 then overlaps (10.55 / 14)^2 = .57: contained, but less.
    proposals = [[0, 0, 10, 10], [0, 0, 11, 11], [0, 0, 14, 14]]
    merged = mine([0, 0, 10, 10], proposals, candidate_order="proposer-score")
    assert torch.equal(merged.boxes, mine([0, 0, 10, 10], proposals[:2]).boxes)


def test_an_invalid_proposal_takes_no_place_among_the_candidates():
    bags = make_bags([[[0, 0, 10, 10], [0, 0, 12, 12], [0, 0, 50, 50]]], valid=[[True, True, False]])
    chosen = selection_of(torch.tensor([[0.0, 0, 10, 10]]).double(), torch.tensor([0]))
    mined = mine_boxes(chosen, torch.tensor([[0.1, 0.5, 0.9]]).double(), bags, candidates=1)
    assert mined.boxes[0, 2] > 11


def test_an_empty_bag_stays_empty():
    bags = make_bags([[[0, 0, 10, 10]]], valid=[[False]])
    nothing = selection_of(torch.zeros(1, 4).double(), torch.tensor([-1]))
    mined = mine_boxes(nothing, torch.zeros(1, 1).double(), bags)
    assert mined.proposal_index.tolist() == [-1]
    assert mined.boxes.tolist() == [[0] * 4]


def test_a_thousand_prompts_are_one_call():
    case = random_case(2, num_prompts=1000, num_proposals=12)
    mined = mine_boxes(smallest_first(case), torch.rand(1000, 12).double(), case.bags)
    assert mined.boxes.shape == (1000, 4)
