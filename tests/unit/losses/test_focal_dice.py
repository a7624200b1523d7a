"""The two elementary losses of the SOLOv2 branch."""

import pytest
import torch
import torch.nn.functional as F

from oracles.segmentation import dice, focal
from sapnet.losses.dice import dice_loss
from sapnet.losses.focal import sigmoid_focal_loss


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.75, 0.5), (0.5, 0.0)])
def test_focal_loss_equals_its_formula(alpha, gamma):
    logits, targets = torch.randn(4, 5) * 3, (torch.rand(4, 5) > 0.5).float()
    losses = sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma)
    expected = [
        focal(logit, target, alpha, gamma)
        for logit, target in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
    ]
    assert losses.flatten().tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_focal_loss_without_focus_is_half_the_cross_entropy():
    logits, targets = torch.randn(9), (torch.rand(9) > 0.5).float()
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") / 2
    assert torch.allclose(sigmoid_focal_loss(logits, targets, alpha=0.5, gamma=0.0), expected)


def test_focal_loss_and_gradient_stay_finite_at_extreme_logits():
    logits = torch.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    losses = sigmoid_focal_loss(logits, torch.tensor([1.0, 1, 0, 0]))
    losses.sum().backward()
    assert losses.isfinite().all()
    assert logits.grad.isfinite().all()


def test_dice_loss_equals_its_formula():
    probs, masks = torch.rand(3, 4, 5), (torch.rand(3, 4, 5) > 0.5).float()
    expected = [dice(p.flatten().tolist(), m.flatten().tolist()) for p, m in zip(probs, masks, strict=True)]
    assert dice_loss(probs, masks).tolist() == pytest.approx(expected, abs=1e-5)


def test_dice_loss_is_zero_for_equal_masks_and_one_for_disjoint_ones():
    mask = torch.zeros(1, 10, 10)
    mask[:, :5] = 1
    assert dice_loss(mask, mask).item() == pytest.approx(0, abs=1e-4)
    assert dice_loss(1 - mask, mask).item() == pytest.approx(1, abs=1e-6)


def test_no_masks_give_no_losses():
    assert dice_loss(torch.zeros(0, 4, 4), torch.zeros(0, 4, 4)).shape == (0,)
