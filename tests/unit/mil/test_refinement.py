import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import refinement as oracle
from oracles.random_bags import make_bags, plain_scores, random_case
from sapnet.mil.refinement import picking_scores, positive_guidance, refine
from sapnet.structures import Regions, Selection


def regions_from(case, generated):
    boxes = torch.cat([case.bags.boxes, case.bags.boxes[:, :1].expand(-1, generated, 4) + 3], dim=1)
    valid = torch.cat([case.bags.valid, case.bags.valid.any(1, keepdim=True).expand(-1, generated)], dim=1)
    return Regions(
        positive_boxes=boxes,
        positive_valid=valid,
        negative_boxes=boxes.new_zeros(0, 4),
        negative_image_index=torch.zeros(0, dtype=torch.long),
    )


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    num_prompts=st.integers(0, 5),
    generated=st.integers(0, 3),
    class_activation=st.sampled_from(["softmax", "sigmoid"]),
    use_instances=st.booleans(),
)
def test_the_pick_equals_the_loop(seed, num_prompts, generated, class_activation, use_instances):
    case = random_case(seed, num_prompts=num_prompts, num_positives=4 + generated, ties=True)
    regions = regions_from(case, generated)
    scores = picking_scores(
        case.class_logits,
        case.instance_logits,
        regions.positive_valid,
        num_classes=3,
        class_activation=class_activation,
        use_instances=use_instances,
    )
    actual = refine(scores, regions, case.bags, case.prompts.labels)
    expected = oracle.refine(scores.scores.tolist(), regions, case.bags, case.prompts.labels)
    assert actual.proposal_index.tolist() == [e[1] for e in expected]
    boxes = torch.tensor([e[0] for e in expected], dtype=torch.float64).reshape(num_prompts, 4)
    torch.testing.assert_close(actual.boxes, boxes)
    assert actual.scores.tolist() == [e[2] for e in expected]


def pick(values, boxes, generated, **bag_options):
    bags = make_bags([boxes], **bag_options)
    positives = torch.cat([bags.boxes, torch.tensor([generated], dtype=torch.float64).reshape(1, -1, 4)], 1)
    valid = torch.cat([bags.valid, torch.ones(1, len(generated), dtype=torch.bool)], 1)
    regions = Regions(positives, valid, positives.new_zeros(0, 4), torch.zeros(0, dtype=torch.long))
    scores = plain_scores(torch.tensor([values], dtype=torch.float64)[..., None])
    return refine(scores, regions, bags, torch.tensor([0]))


def test_a_generated_pick_maps_to_the_proposal_that_overlaps_it_most():
    picked = pick([0.1, 0.2, 0.9], [[0, 0, 5, 5], [0, 0, 9, 9]], [[0, 0, 10, 10]])
    assert picked.boxes.tolist() == [[0, 0, 10, 10]]
    assert picked.proposal_index.tolist() == [1]


def test_a_picked_proposal_stays_itself_even_beside_an_equal_box():
    picked = pick([0.1, 0.9], [[0, 0, 5, 5], [0, 0, 5, 5]], [])
    assert picked.proposal_index.tolist() == [1]


def test_among_equal_overlaps_the_first_proposal_stands_for_the_pick():
    picked = pick([0.1, 0.2, 0.9], [[0, 0, 5, 5], [0, 0, 5, 5]], [[0, 0, 6, 6]])
    assert picked.proposal_index.tolist() == [0]


def test_an_empty_bag_picks_nothing_even_if_boxes_were_generated():
    picked = pick([0.1, 0.9], [[0, 0, 5, 5]], [[0, 0, 6, 6]], valid=[[False]])
    assert picked.proposal_index.tolist() == [-1]
    assert picked.boxes.tolist() == [[0] * 4]
    assert picked.guidance.tolist() == [1]


@pytest.mark.parametrize(
    ("class_activation", "use_instances", "expected"),
    [("softmax", True, 0.25), ("sigmoid", True, 0.25), ("softmax", False, 0.5), ("sigmoid", False, 0.5)],
)
def test_the_instance_probability_can_be_left_out(class_activation, use_instances, expected):
    zeros = torch.zeros(1, 2, 2)
    scores = picking_scores(
        zeros,
        zeros,
        torch.ones(1, 2, dtype=torch.bool),
        num_classes=2,
        class_activation=class_activation,
        use_instances=use_instances,
    )
    assert (scores.scores == expected).all()


def test_a_prior_multiplies_the_score():
    zeros = torch.zeros(1, 2, 2)
    scores = picking_scores(
        zeros,
        zeros,
        torch.ones(1, 2, dtype=torch.bool),
        num_classes=2,
        use_instances=False,
        prior=torch.tensor([[0.5, 1.0]]),
    )
    assert scores.scores[0, :, 0].tolist() == [0.25, 0.5]


def test_generated_boxes_inherit_the_guidance_of_the_selection():
    selection = Selection(torch.zeros(1, 4), torch.tensor([1]), torch.zeros(1), torch.tensor([0.6]))
    factors = positive_guidance(torch.tensor([[1.0, 0.6]]), selection, num_positives=4)
    torch.testing.assert_close(factors, torch.tensor([[1.0, 0.6, 0.6, 0.6]]))
    assert positive_guidance(torch.tensor([[1.0, 0.6]]), selection, num_positives=2).shape == (1, 2)


def test_a_thousand_prompts_are_one_call():
    case = random_case(2, num_prompts=1000, num_positives=14)
    regions = regions_from(case, 10)
    scores = picking_scores(case.class_logits, case.instance_logits, regions.positive_valid, num_classes=3)
    assert refine(scores, regions, case.bags, case.prompts.labels).boxes.shape == (1000, 4)
