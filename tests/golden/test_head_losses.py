"""The head's losses on numbers worked out by hand."""

import math

import pytest
import torch

from sapnet.proposals.builtin.head_loss import HeadBatch, head_losses, mask_losses, true_overlaps
from sapnet.proposals.builtin.prompt_head import HeadOutputs
from sapnet.proposals.builtin.prompt_windows import WindowPrompts

# One window of 2 x 2 cells, the object in the left column. Mask 0 is undecided everywhere (p = 1/2),
# mask 1 says 3/4 on the left and 1/4 on the right, mask 2 the opposite. log(3) is the logit of 3/4.
LEFT = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
SURE = math.log(3.0)
RIGHT_SIGN = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
LOGITS = torch.stack([torch.zeros(2, 2), SURE * RIGHT_SIGN, -SURE * RIGHT_SIGN])[None]
EVERYWHERE = torch.ones(1, 2, 2, dtype=torch.bool)


def batch_of(area):
    nothing = torch.zeros(0, dtype=torch.long)
    prompts = WindowPrompts(
        torch.zeros(1, dtype=torch.long),
        torch.ones(1, 2),
        torch.full((1,), 2.0),
        torch.zeros(0, 2),
        nothing.bool(),
        nothing,
        torch.full((1, 4), math.nan),
    )
    return HeadBatch(torch.zeros(1, 3, 2, 2), prompts, LEFT, torch.tensor([area]), EVERYWHERE)


def test_cross_entropy_and_dice():
    entropy, dice = mask_losses(LOGITS, LEFT, EVERYWHERE)
    assert entropy[0].tolist() == pytest.approx([math.log(2), math.log(4 / 3), math.log(4)])
    # Common parts of 1, 3/2 and 1/2; squares add up to 1, 5/4 and 5/4, and to 2 for the target.
    assert dice[0].tolist() == pytest.approx([1 - 3 / 4, 1 - 4 / 4.25, 1 - 2 / 4.25])


def test_cells_off_the_image_do_not_count():
    on_image = torch.tensor([[[True, True], [False, False]]])
    entropy, dice = mask_losses(LOGITS, LEFT * on_image, on_image)
    assert entropy[0].tolist() == pytest.approx([math.log(2), math.log(4 / 3), math.log(4)])
    assert dice[0, 0] == pytest.approx(1 - (2 * 0.5 + 1) / (0.5 + 1 + 1))


def test_overlaps_are_with_the_whole_object():
    # Mask 1 draws the left column: 2 cells, all of the object, or half of one of 4 cells.
    assert true_overlaps(LOGITS, batch_of(2.0))[0].tolist() == pytest.approx([0.0, 1.0, 0.0])
    assert true_overlaps(LOGITS, batch_of(4.0))[0].tolist() == pytest.approx([0.0, 0.5, 0.0])


def test_the_best_mask_is_what_counts():
    losses = head_losses(HeadOutputs(LOGITS, torch.tensor([[0.0, 0.0, 1.0]])), batch_of(2.0))
    entropy, dice = mask_losses(LOGITS, LEFT, EVERYWHERE)
    per_mask = (2 * entropy + dice)[0].tolist()
    assert losses["mask"] == pytest.approx(min(per_mask) + 0.05 * sum(per_mask) / 3)
    # Overlaps 0, 1, 0 against logits 0, 0, 1.
    expected = (2 * math.log(2) + math.log(1 + math.e)) / 3
    assert losses["overlap"] == pytest.approx(expected)
    assert losses["best"] == pytest.approx(1.0)
    assert losses["top"] == pytest.approx(0.0)


def test_a_window_that_misses_most_of_the_object_is_only_judged():
    losses = head_losses(HeadOutputs(LOGITS, torch.zeros(1, 3)), batch_of(4.0))
    assert losses["mask"] == 0
    assert losses["total"] == pytest.approx(float(losses["overlap"]))
