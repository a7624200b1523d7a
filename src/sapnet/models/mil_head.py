"""The two-branch multiple-instance head shared by the select and the refine pass."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sapnet.models.layers import initialise_output

CLASS_PRIOR = 0.01
"""Initial sigmoid probability of every class (reference configuration)."""


class MilHead(nn.Module):
    """Class and instance logits of region features (paper, 3.2: W_cls and W_ins of eq. 1).

    Two fully connected layers serve both passes; each pass has its own pair of linear outputs.
    The paper describes two modules without saying what they share; the released code shares the
    fully connected layers.

    Args:
        in_channels: Channels of the region features.
        num_classes: K.
        roi_size: Cells per side of the region features.
        hidden_channels: Width of the two fully connected layers.
        background_output: Give the select pass K + 1 columns in both branches, the last of them
            background (released code; the paper has K).
        dropout: Dropout probability after each fully connected layer.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        roi_size: int = 7,
        hidden_channels: int = 1024,
        background_output: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inputs = in_channels * roi_size**2
        self.hidden = nn.ModuleList(
            [nn.Linear(inputs, hidden_channels), nn.Linear(hidden_channels, hidden_channels)]
        )
        columns = {"select": num_classes + int(background_output), "refine": num_classes}
        self.classes = nn.ModuleDict(
            {name: nn.Linear(hidden_channels, count) for name, count in columns.items()}
        )
        self.instances = nn.ModuleDict(
            {name: nn.Linear(hidden_channels, count) for name, count in columns.items()}
        )
        self.dropout = dropout
        for layer in [*self.hidden, *self.instances.values()]:
            initialise_output(layer)  # type: ignore[arg-type]
        for layer in self.classes.values():
            initialise_output(layer, CLASS_PRIOR)  # type: ignore[arg-type]

    @property
    def draws(self) -> bool:
        """Whether embedding the same features twice gives two results."""
        return self.training and self.dropout > 0

    def embed(self, features: Float[Tensor, "n D r r"]) -> Float[Tensor, "n E"]:
        """Apply the two shared fully connected layers.

        Args:
            features: Region features of n boxes.

        Returns:
            Embeddings of ``hidden_channels`` numbers, non-negative.
        """
        hidden = features.flatten(1)
        for layer in self.hidden:
            hidden = F.dropout(F.relu(layer(hidden)), self.dropout, self.training)
        return hidden

    def forward(
        self, features: Float[Tensor, "n D r r"], pass_name: Literal["select", "refine"]
    ) -> tuple[Float[Tensor, "n K"], Float[Tensor, "n K"]]:
        """Return the class and the instance logits of n boxes.

        Args:
            features: Region features.
            pass_name: Which pass's outputs to use.

        Returns:
            ``(class_logits, instance_logits)``; K + 1 columns in the select pass with a background
            output. The softmax or sigmoid follows in ``mil.scoring`` (eq. 1).
        """
        return self.outputs(self.embed(features), pass_name)

    def outputs(
        self, embedded: Float[Tensor, "n E"], pass_name: Literal["select", "refine"]
    ) -> tuple[Float[Tensor, "n K"], Float[Tensor, "n K"]]:
        """Return what ``forward`` returns, from embeddings.

        Args:
            embedded: What ``embed`` returned.
            pass_name: Which pass's outputs to use.
        """
        return self.classes[pass_name](embedded), self.instances[pass_name](embedded)

    def class_logits(
        self, features: Float[Tensor, "n D r r"], pass_name: Literal["select", "refine"]
    ) -> Float[Tensor, "n K"]:
        """Return the class logits alone, which is all that eq. 7 needs of negative boxes.

        Args:
            features: Region features.
            pass_name: Which pass's outputs to use.
        """
        return self.classes[pass_name](self.embed(features))
