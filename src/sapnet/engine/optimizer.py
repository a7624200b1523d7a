"""The optimiser and its schedule."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from sapnet.config import OptimConfig
from sapnet.models.sapnet import SapNet


def build_optimizer(config: OptimConfig, model: SapNet, *, batch_size: int) -> torch.optim.Optimizer:
    """Build the optimiser with two parameter groups: the backbone and everything else.

    Args:
        config: The optim section.
        model: The network, on the device where it is trained.
        batch_size: Images per optimiser step over all processes; the rate scales with it.

    Returns:
        SGD with momentum or AdamW. Its rates are the full ones, before warm-up.
    """
    rate = config.learning_rate * batch_size / config.reference_batch
    in_backbone = {id(parameter) for parameter in model.backbone.parameters()}

    def trained(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        return [parameter for parameter in parameters if parameter.requires_grad]

    groups = [
        {
            "params": trained(model.backbone.parameters()),
            "lr": rate * config.backbone_rate_multiplier,
        },
        {
            "params": trained(p for p in model.parameters() if id(p) not in in_backbone),
            "lr": rate,
        },
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, weight_decay=config.weight_decay)
    return torch.optim.AdamW(
        groups,
        lr=rate,
        betas=(config.momentum, 0.999),
        weight_decay=config.weight_decay,
        # One pass over the weights instead of eight; elsewhere torch knows better.
        fused=all(parameter.is_cpu for parameter in model.parameters() if parameter.requires_grad) or None,
    )


def learning_rate_factor(config: OptimConfig, step: int, num_steps: int) -> float:
    """Return the share of the full learning rate at a step.

    Args:
        config: The optim section.
        step: 0-based step, one per batch and process: with accumulation not every one updates.
        num_steps: Steps of the whole training, counted alike.

    Returns:
        Linear warm-up from ``warmup_ratio`` to 1 over ``warmup_steps``, times ``decay`` for every
        milestone (a share of training) that has passed.
    """
    factor = 1.0
    if step < config.warmup_steps:
        factor = config.warmup_ratio + (1 - config.warmup_ratio) * step / config.warmup_steps
    passed = sum(step >= milestone * num_steps for milestone in config.milestones)
    return factor * config.decay**passed
