"""Completes the mask decoder of HQ-SAM.

``transformers`` (5.23 at least) computes HQ-SAM's two-way transformer and then upscales the image features
that *went into* it, with height and width exchanged, instead of those that came out of it. The method (Ke et
al., NeurIPS 2023, section 3.2) and its authors' code upscale what came out, as SAM does; with published
weights the masks are wrong otherwise. Two hooks put the right features in place. Where the class does so
itself they change nothing.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def complete_mask_decoder(mask_decoder: nn.Module) -> None:
    """Make the mask decoder upscale the image features that its transformer returns.

    Args:
        mask_decoder: The decoder of ``SamHQModel``, changed in place.
    """
    transformed: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, outputs: tuple[Tensor, ...]) -> None:
        transformed[:] = [outputs[1]]

    def replace(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        features = inputs[0]
        # (prompts, 1, cells, channels) to (prompts, channels, rows, columns)
        return (transformed.pop().transpose(-2, -1).reshape(features.shape),)

    decoder: Any = mask_decoder
    decoder.transformer.register_forward_hook(keep)
    decoder.upscale_conv1.register_forward_pre_hook(replace)
