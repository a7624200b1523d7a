"""The boundary network and its maps."""

import numpy as np
import pytest
import torch

from sapnet.proposals.builtin.boundary_maps import image_maps
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork, decode_extents, encode_extents


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return BoundaryNetwork().eval()


def test_maps_have_strides_two_and_four(network):
    with torch.no_grad():
        outputs = network(torch.zeros(2, 3, 64, 96))
    assert outputs.boundary_logits.shape == (2, 2, 32, 48)
    assert outputs.inside_logits.shape == (2, 1, 16, 24)
    assert outputs.extents.shape == (2, 4, 16, 24)


def test_weights_fit_in_half_of_what_they_may(network):
    assert 2 * sum(parameter.numel() for parameter in network.parameters()) < 10e6


def test_distances_survive_encoding():
    distances = torch.tensor([0.0, 1.0, 32.0, 500.0])
    assert torch.allclose(decode_extents(encode_extents(distances)), distances, atol=1e-3)
    assert encode_extents(torch.tensor(28.0)).item() == 0


@pytest.mark.parametrize("size", [(1, 1), (33, 50), (64, 64)])
def test_maps_have_the_size_of_the_image(network, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    maps, fused = image_maps(network, None, image)
    assert fused is None
    assert maps.region.shape == maps.border.shape == maps.inside.shape == size
    assert maps.edges.shape == (4, *size)
    assert 0 <= maps.region.min() <= maps.region.max() <= 1
    assert maps.edges[[0, 2]].max() <= size[1]
    assert maps.edges[[1, 3]].max() <= size[0]
