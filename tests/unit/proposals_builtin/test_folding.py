"""Networks that only answer compute the same as those that were trained."""

import pytest
import torch
from torch import nn

from sapnet.proposals.builtin.boundary_network import BoundaryNetwork
from sapnet.proposals.builtin.folding import folded
from sapnet.proposals.builtin.prompt_head import PromptHead


def with_statistics(network):
    """Give batch normalisations something to do."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.weight, mean=1.0, std=0.2)
            nn.init.normal_(module.bias, std=0.2)
    return network.eval()


@pytest.mark.parametrize("size", [(64, 96), (32, 32)])
def test_a_folded_network_gives_the_same_maps(size):
    network = with_statistics(BoundaryNetwork())
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected, found = network(images), folded(network)(images)
    for name in ("boundary_logits", "inside_logits", "extents"):
        assert torch.allclose(getattr(found, name), getattr(expected, name), rtol=1e-3, atol=1e-4)


def test_folding_leaves_the_trained_network_as_it_is_and_no_batch_normalisation_in_the_copy():
    head = with_statistics(PromptHead())
    before = {name: value.clone() for name, value in head.state_dict().items()}
    quick = folded(head)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
    assert not any(parameter.requires_grad for parameter in quick.parameters())
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    inputs = torch.randn(2, head.outer[0][0].in_channels, 8, 8)
    with torch.no_grad():
        assert torch.allclose(quick.outer(inputs), head.outer(inputs), rtol=1e-3, atol=1e-4)
