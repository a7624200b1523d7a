"""The SOLOv2 head and its mask features."""

import pytest
import torch

from sapnet.models.layers import with_coordinates
from sapnet.models.mask_features import MaskFeatures
from sapnet.models.solov2_head import Solov2Head, dynamic_masks

STRIDES = (4, 8, 16, 32, 64)


def levels(height, width, channels=16, count=5, batch=2):
    return [torch.randn(batch, channels, -(-height // s), -(-width // s)) for s in STRIDES[:count]]


def small_head(**changes):
    settings = {
        "level_strides": STRIDES,
        "num_grids": (6, 5, 4, 3, 2),
        "head_channels": 16,
        "head_convs": 1,
        "mask_channels": 16,
        "kernel_channels": 8,
    }
    return Solov2Head(16, 3, **{**settings, **changes})


@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 32), (65, 47)])
def test_grids_and_mask_features_have_their_sizes_for_any_input(height, width):
    outputs = small_head()(levels(height, width))
    assert [tuple(x.shape) for x in outputs.category_logits] == [(2, 3, s, s) for s in (6, 5, 4, 3, 2)]
    assert [tuple(x.shape) for x in outputs.kernels] == [(2, 8, s, s) for s in (6, 5, 4, 3, 2)]
    assert tuple(outputs.mask_features.shape) == (2, 8, -(-height // 4), -(-width // 4))


def test_every_category_starts_near_one_percent():
    probs = torch.sigmoid(small_head()(levels(64, 64)).category_logits[0])
    assert probs.mean().item() == pytest.approx(0.01, abs=0.003)


def test_only_the_kernel_branch_knows_positions():
    head = small_head(head_convs=0)
    flat = [torch.ones_like(level) for level in levels(64, 64)]
    outputs = head(flat)
    inner = outputs.category_logits[0][:, :, 1:-1, 1:-1]
    assert torch.allclose(inner, inner[:, :, :1, :1].expand_as(inner), atol=1e-6)
    kernels = outputs.kernels[0][:, :, 1:-1, 1:-1]
    assert not torch.allclose(kernels, kernels[:, :, :1, :1].expand_as(kernels), atol=1e-6)


def test_every_parameter_gets_a_gradient():
    head = small_head(head_convs=2)
    outputs = head(levels(64, 64))
    total = sum(x.square().sum() for x in (*outputs.category_logits, *outputs.kernels, outputs.mask_features))
    total.backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("count", [1, 2, 4])
def test_mask_features_fuse_any_number_of_levels(count):
    result = MaskFeatures(16, 8, 4, num_levels=count)(levels(32, 40))
    assert result.shape == (2, 4, 8, 10)


def test_mask_features_fuse_every_level_they_take():
    features = [level.requires_grad_() for level in levels(64, 64)]
    MaskFeatures(16, 8, 4)(features).square().sum().backward()
    assert all(feature.grad.abs().sum() > 0 for feature in features[:4])
    assert features[4].grad is None


def test_coordinates_run_from_minus_one_to_one():
    extended = with_coordinates(torch.zeros(2, 3, 4, 5))
    assert extended[1, 3, 2].tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert extended[0, 4, :, 1].tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])


def test_a_dynamic_mask_is_the_weighted_sum_of_the_features():
    features = torch.randn(3, 4, 5)
    kernels = torch.tensor([[1.0, 0, 0], [0.5, -2, 1]])
    masks = dynamic_masks(kernels, features)
    assert torch.allclose(masks[0], features[0])
    assert torch.allclose(masks[1], 0.5 * features[0] - 2 * features[1] + features[2], atol=1e-6)
    assert dynamic_masks(kernels[:0], features).shape == (0, 4, 5)
