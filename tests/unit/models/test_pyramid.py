"""The feature pyramid."""

import pytest
import torch

from sapnet.models.pyramid import FeaturePyramid


def stages(height=64, width=96, channels=(4, 6, 8, 10)):
    return [
        torch.randn(2, c, -(-height // s), -(-width // s))
        for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("num_levels", [1, 3, 4, 5, 6])
def test_every_level_has_its_channels_and_stride(num_levels):
    pyramid = FeaturePyramid((4, 6, 8, 10), 32, num_levels)
    levels = pyramid(stages())
    assert pyramid.strides == (4, 8, 16, 32, 64, 128)[:num_levels]
    assert [tuple(level.shape) for level in levels] == [
        (2, 32, -(-64 // stride), -(-96 // stride)) for stride in pyramid.strides
    ]


def test_odd_sizes_pass():
    levels = FeaturePyramid((4, 6, 8, 10), 16)(stages(37, 51))
    assert levels[0].shape[-2:] == (10, 13)


def test_the_coarsest_stage_reaches_the_finest_level_and_not_the_reverse():
    pyramid = FeaturePyramid((4, 6, 8, 10), 16)
    features = [feature.requires_grad_() for feature in stages()]
    levels = pyramid(features)
    towards_coarse = torch.autograd.grad(levels[0].square().sum(), features[3], retain_graph=True)[0]
    towards_fine = torch.autograd.grad(levels[3].square().sum(), features[0], allow_unused=True)[0]
    assert towards_coarse.abs().sum() > 0
    assert towards_fine is None


def test_the_sixth_level_comes_from_the_backbone():
    pyramid = FeaturePyramid((4, 6, 8, 10), 16)
    assert pyramid.extras[0][0].in_channels == 10


def test_channels_that_32_does_not_divide_get_fewer_groups():
    assert FeaturePyramid((4, 6, 8, 10), 48).outputs[0][1].num_groups == 16
