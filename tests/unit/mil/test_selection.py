import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import selection as oracle
from oracles.random_bags import make_bags, plain_scores, random_case
from sapnet.mil.scoring import bag_scores
from sapnet.mil.selection import best_valid_index, select, take_rows


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    num_prompts=st.integers(0, 5),
    num_proposals=st.integers(1, 4),
    ties=st.booleans(),
)
def test_selection_equals_the_loop(seed, num_prompts, num_proposals, ties):
    case = random_case(seed, num_prompts=num_prompts, num_proposals=num_proposals, ties=ties)
    guidance = 0.5 + 0.5 * torch.rand(num_prompts, num_proposals, dtype=torch.float64)
    scores = bag_scores(
        case.class_logits, case.instance_logits, case.bags.valid, num_classes=3, guidance=guidance
    )
    actual = select(scores, case.bags, case.prompts.labels, case.image_sizes, case.prompts.image_index)
    expected = oracle.select(scores.scores.tolist(), guidance.tolist(), case)
    assert actual.proposal_index.tolist() == [e[1] for e in expected]
    boxes = torch.tensor([e[0] for e in expected], dtype=torch.float64).reshape(num_prompts, 4)
    torch.testing.assert_close(actual.boxes, boxes)
    assert actual.scores.tolist() == [e[2] for e in expected]
    assert actual.guidance.tolist() == [e[3] for e in expected]


def choose(values, bags, labels=(0,), sizes=((50, 50),), **options):
    scores = plain_scores(torch.tensor(values, dtype=torch.float64))
    image_index = torch.zeros(len(labels), dtype=torch.long)
    return select(scores, bags, torch.tensor(labels), torch.tensor(sizes), image_index, **options)


def test_equal_scores_go_to_the_first_proposal():
    bags = make_bags([[[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]]])
    assert choose([[[0.1], [0.7], [0.7]]], bags).proposal_index.tolist() == [1]


def test_an_empty_bag_selects_nothing():
    bags = make_bags([[[1, 1, 9, 9]]], valid=[[False]])
    selection = choose([[[0.0]]], bags)
    assert selection.proposal_index.tolist() == [-1]
    assert selection.boxes.tolist() == [[0] * 4]
    assert (selection.scores.item(), selection.guidance.item()) == (0, 1)


def test_an_invalid_proposal_is_never_selected_whatever_its_score():
    bags = make_bags([[[0, 0, 1, 1], [0, 0, 2, 2]]], valid=[[False, True]])
    assert choose([[[9.0], [0.0]]], bags).proposal_index.tolist() == [1]


def test_the_box_is_clipped_to_its_image():
    assert choose([[[1.0]]], make_bags([[[-3, 4, 99, 60]]])).boxes.tolist() == [[0, 4, 50, 50]]


def test_guidance_outside_the_scores_is_recorded():
    bags = make_bags([[[0, 0, 1, 1], [0, 0, 2, 2]]])
    factors = torch.tensor([[0.9, 0.6]], dtype=torch.float64)
    assert choose([[[0.1], [0.2]]], bags, guidance=factors).guidance.tolist() == [0.6]


def test_bags_of_no_proposals_and_batches_of_no_prompts_are_legal():
    assert best_valid_index(torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool)).tolist() == [-1, -1]
    assert best_valid_index(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool)).shape == (0,)
    assert take_rows(torch.zeros(2, 0, 4), torch.tensor([-1, -1]), absent=1.0).tolist() == [[1] * 4] * 2


def test_selection_carries_no_gradient():
    case = random_case(5)
    scores = bag_scores(
        case.class_logits.requires_grad_(), case.instance_logits, case.bags.valid, num_classes=3
    )
    selection = select(scores, case.bags, case.prompts.labels, case.image_sizes, case.prompts.image_index)
    assert not selection.scores.requires_grad
