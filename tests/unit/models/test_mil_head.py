"""The two-branch multiple-instance head."""

import pytest
import torch

from sapnet.models.mil_head import MilHead


@pytest.mark.parametrize(("background", "columns"), [(False, 5), (True, 6)])
def test_only_the_select_pass_may_have_a_background_column(background, columns):
    head = MilHead(3, 5, roi_size=2, hidden_channels=8, background_output=background)
    features = torch.randn(7, 3, 2, 2)
    assert [tuple(logits.shape) for logits in head(features, "select")] == [(7, columns)] * 2
    assert [tuple(logits.shape) for logits in head(features, "refine")] == [(7, 5)] * 2


def test_the_passes_share_the_hidden_layers_but_not_the_outputs():
    head = MilHead(3, 5, roi_size=2, hidden_channels=8)
    head(torch.randn(7, 3, 2, 2), "select")[0].sum().backward()
    assert all(layer.weight.grad is not None for layer in head.hidden)
    assert head.classes["refine"].weight.grad is None


def test_every_class_starts_at_one_percent():
    head = MilHead(3, 5, roi_size=2, hidden_channels=8)
    probs = torch.sigmoid(head(torch.zeros(1, 3, 2, 2), "refine")[0])
    assert torch.allclose(probs, torch.full((1, 5), 0.01), atol=1e-5)


def test_class_logits_alone_equal_those_of_the_full_pass():
    head = MilHead(3, 5, roi_size=2, hidden_channels=8)
    features = torch.randn(7, 3, 2, 2)
    assert torch.equal(head.class_logits(features, "refine"), head(features, "refine")[0])


def test_no_boxes_give_no_logits():
    assert MilHead(3, 5, roi_size=2, hidden_channels=8)(torch.zeros(0, 3, 2, 2), "select")[0].shape == (0, 5)


def test_dropout_acts_in_training_only():
    head = MilHead(3, 5, roi_size=2, hidden_channels=64, dropout=0.5)
    features = torch.randn(7, 3, 2, 2)
    assert not torch.equal(head.embed(features), head.embed(features))
    head.eval()
    assert torch.equal(head.embed(features), head.embed(features))
