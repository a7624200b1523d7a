"""Makes trained networks answer faster: the same function but for rounding, in fewer passes.

The weights file keeps everything as it was trained; what is done here is for networks that only answer.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TypeVar

import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sapnet.proposals.builtin.weights import BuiltinWeights

_Network = TypeVar("_Network", bound=nn.Module)


def folded_weights(weights: BuiltinWeights) -> BuiltinWeights:
    """Return weights whose networks are folded and have their gradients switched off."""
    head = folded(weights.head) if weights.head is not None else None
    return replace(weights, network=folded(weights.network), head=head)


def folded(network: _Network) -> _Network:
    """Return a copy of a network without the batch normalisations that directly follow a convolution.

    Outputs are the same but for rounding. A normalisation that also activates (timm's) leaves its
    activation behind.

    Args:
        network: In evaluation mode. Its modules are called in the order in which they were registered.
    """
    network = copy.deepcopy(network).requires_grad_(False)
    for parent in list(network.modules()):
        before: tuple[str, nn.Conv2d] | None = None
        for name, child in list(parent.named_children()):
            if before is not None and isinstance(child, nn.BatchNorm2d):
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(parent, name, _activation_of(child))
            before = (name, child) if isinstance(child, nn.Conv2d) else None
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Conv2dSame):
                setattr(parent, name, _padding_itself(child))
            elif isinstance(child, nn.Conv2d) and child.kernel_size == (1, 1):
                # A single weight has no dilation. But without one, a single thread computes with a slow
                # routine instead of oneDNN, which copies the image once more.
                child.dilation = (2, 2)
    return network


def _activation_of(normalisation: nn.BatchNorm2d) -> nn.Module:
    """Return what a normalisation does to its result: nothing, but for timm's."""
    activation = getattr(normalisation, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()


def _padding_itself(convolution: Conv2dSame) -> nn.Conv2d:
    """Return a convolution that needs no padded copy of an image of even height and width.

    Padding as TensorFlow's, which at stride 2 is one less before the image than behind it, is that of a
    kernel with one more row and column of zeros in front.
    """
    side = convolution.kernel_size[0]
    assert convolution.stride == (2, 2)
    assert side % 2
    plain = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        side + 1,
        stride=2,
        padding=side // 2,
        groups=convolution.groups,
    )
    plain.weight = nn.Parameter(F.pad(convolution.weight, (1, 0, 1, 0)), requires_grad=False)
    plain.bias = convolution.bias
    return plain
