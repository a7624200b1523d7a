"""A second proposer's opinion: its agreement with every proposal of a first."""

from dataclasses import replace

import numpy as np
import pytest

from sapnet.build_proposer import build_second_opinion
from sapnet.config import ProposalConfig
from sapnet.data.rle import encode_mask
from sapnet.proposals.proposer import ImagePrompts, collect_proposals
from sapnet.proposals.second_opinion import SecondOpinion, expected_agreement

SIZE = (6, 8)


def prompts(ids):
    count = len(ids)
    return ImagePrompts(1, np.array(ids), np.full((count, 2), 2.5), np.zeros(count, dtype=np.int64))


def proposals(ids, masks, scores, owner):
    counts = [encode_mask(mask) for mask in np.array(masks, dtype=bool).reshape(-1, *SIZE)]
    return collect_proposals(
        prompts(ids), SIZE, prompt_index=owner, counts=counts, scores=scores, kinds=["point"] * len(owner)
    )


def random_pair(seed):
    draws = np.random.default_rng(seed)
    first_owner, second_owner = draws.integers(0, 4, 9), draws.integers(0, 3, 7)
    first = proposals([5, 6, 7, 8], draws.random((9, *SIZE)) < 0.5, draws.random(9), first_owner.tolist())
    second = proposals([8, 5, 9], draws.random((7, *SIZE)) < 0.5, draws.random(7), second_owner.tolist())
    return first, second


def loop_agreement(first, second):
    """Oracle: pixel by pixel, proposal by proposal."""
    agreement = []
    for i, mask in enumerate(first.masks()):
        key = first.annotation_ids[first.prompt_index[i]]
        total = weight = 0.0
        for j, other in enumerate(second.masks()):
            if second.annotation_ids[second.prompt_index[j]] != key:
                continue
            union = (mask | other).sum()
            total += second.scores[j] * ((mask & other).sum() / union if union else 0.0)
            weight += second.scores[j]
        agreement.append(total / weight if weight else 0.0)
    return np.array(agreement)


@pytest.mark.parametrize("seed", range(5))
def test_the_agreement_equals_a_loop_over_pixels(seed):
    first, second = random_pair(seed)
    found = expected_agreement(first, second)
    np.testing.assert_allclose(found, loop_agreement(first, second), rtol=1e-6)
    assert found.dtype == np.float32


def test_golden_a_mask_that_the_second_draws_half_the_time():
    left, right = np.zeros(SIZE, dtype=bool), np.zeros(SIZE, dtype=bool)
    left[:, :4], right[:, 4:] = True, True
    first = proposals([3], [left, np.ones(SIZE)], [0.9, 0.8], [0, 0])
    second = proposals([3], [left, right], [0.6, 0.2], [0, 0])
    # left: .75 * 1 + .25 * 0; everything: overlaps either half by .5
    np.testing.assert_allclose(expected_agreement(first, second), [0.75, 0.5])


def test_a_click_that_the_second_does_not_answer_agrees_with_nothing():
    first = proposals([3, 4], np.ones((2, *SIZE)), [0.9, 0.8], [0, 1])
    second = proposals([4], np.ones((1, *SIZE)), [0.5], [0])
    assert expected_agreement(first, second).tolist() == [0.0, 1.0]


def test_other_image_sizes_are_refused():
    first, second = random_pair(0)

    with pytest.raises(ValueError, match="image 1: the second proposer saw"):
        expected_agreement(first, replace(second, image_size=(8, 6)))


class Fixed:
    """A proposer that always gives the same."""

    def __init__(self, name, answer):
        self.name, self.settings, self.answer, self.asked = name, {"k": 1}, answer, []

    def propose(self, image, asked):
        self.asked.append(asked)
        return self.answer


def test_only_opinions_are_added_and_the_second_is_named_in_the_settings():
    first, second = random_pair(1)
    asked = SecondOpinion(Fixed("a", first), Fixed("b", second))
    found = asked.propose(np.zeros((*SIZE, 3), dtype=np.uint8), prompts([5, 6, 7, 8]))
    np.testing.assert_array_equal(found.scores, first.scores)
    assert found.counts == first.counts
    np.testing.assert_array_equal(found.opinions, expected_agreement(first, second))
    assert asked.name == "a"
    named = {"name": "b", "settings": {"k": 1}, "checkpoint": None}
    assert asked.settings == {"k": 1, "second_opinion": named}
    assert asked.checkpoint_digest is None


def test_boxes_made_for_the_first_are_not_shown_to_the_second():
    first, second = random_pair(1)
    other = Fixed("b", second)

    boxed = replace(prompts([5, 6, 7, 8]), boxes=np.zeros((4, 4)))
    SecondOpinion(Fixed("a", first), other).propose(np.zeros((*SIZE, 3), dtype=np.uint8), boxed)
    assert other.asked[0].boxes is None


@pytest.mark.parametrize(
    ("name", "asked", "second"),
    [
        ("builtin", "auto", "regions"),
        ("builtin", "builtin", "builtin"),
        ("regions", "auto", "builtin"),
        ("sam", "regions", "regions"),
        ("sam", "auto", "builtin"),
        ("sam", "none", None),
    ],
)
def test_auto_asks_the_builtin_proposer_and_regions_about_its_own(name, asked, second):
    built = build_second_opinion(ProposalConfig(name=name, checkpoint="x.pth", second_opinion=asked))
    assert (built and built.name) == second


def test_a_failure_of_the_second_names_it():
    class Failing:
        name, settings = "dreamer", {}

        def propose(self, image, prompts):
            raise ValueError("no idea")

    class Silent(Failing):
        def propose(self, image, asked):
            return proposals([3], [np.ones(SIZE)], [0.9], [0])

    image = np.zeros((*SIZE, 3), dtype=np.uint8)
    with pytest.raises(RuntimeError, match="second opinion, 'dreamer' failed: ValueError: no idea"):
        SecondOpinion(Silent(), Failing()).propose(image, prompts([3]))
    with pytest.raises(ValueError, match="no idea"):
        SecondOpinion(Failing(), Silent()).propose(image, prompts([3]))
