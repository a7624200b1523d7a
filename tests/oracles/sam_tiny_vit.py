"""MobileSAM's image encoder from its tensors by their original names, window by window.

From the papers: TinyViT (Wu et al., ECCV 2022, sections 3.2 and 4) and MobileSAM (Zhang et al., 2023): strides 4, 8,
16 and again 16.
"""

import math

import torch
from torch.nn import functional as F


def _conv_norm(t, name, x, stride=1, groups=1):
    weight = t[f"{name}.c.weight"]
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
    return F.batch_norm(
        x,
        t[f"{name}.bn.running_mean"],
        t[f"{name}.bn.running_var"],
        t[f"{name}.bn.weight"],
        t[f"{name}.bn.bias"],
    )


def _inverted_bottleneck(t, name, x):
    inner = F.gelu(_conv_norm(t, f"{name}.conv1", x))
    inner = F.gelu(_conv_norm(t, f"{name}.conv2", inner, groups=inner.shape[1]))
    return F.gelu(x + _conv_norm(t, f"{name}.conv3", inner))


def _merge(t, name, x, stride):
    x = F.gelu(_conv_norm(t, f"{name}.conv1", x))
    x = F.gelu(_conv_norm(t, f"{name}.conv2", x, stride=stride, groups=x.shape[1]))
    return _conv_norm(t, f"{name}.conv3", x)


def _window_attention(t, name, tokens, side):
    """Attention within one window of side x side tokens, with a bias per absolute offset and head."""
    biases = t[f"{name}.attention_biases"]
    heads, width = biases.shape[0], tokens.shape[1]
    size = width // heads
    # Offsets are numbered in the order in which a scan over pairs of cells meets them first.
    number = {}
    cells = [(row, column) for row in range(side) for column in range(side)]
    bias = torch.empty(heads, len(cells), len(cells))
    for i, (row, column) in enumerate(cells):
        for j, (other_row, other_column) in enumerate(cells):
            offset = (abs(row - other_row), abs(column - other_column))
            bias[:, i, j] = biases[:, number.setdefault(offset, len(number))]
    tokens = F.layer_norm(tokens, (width,), t[f"{name}.norm.weight"], t[f"{name}.norm.bias"])
    mixed = F.linear(tokens, t[f"{name}.qkv.weight"], t[f"{name}.qkv.bias"])
    outputs = []
    for head in range(heads):
        query, key, value = mixed[:, head * 3 * size : (head + 1) * 3 * size].split(size, dim=1)
        outputs.append(torch.softmax(query @ key.T / math.sqrt(size) + bias[head], dim=1) @ value)
    return F.linear(torch.cat(outputs, dim=1), t[f"{name}.proj.weight"], t[f"{name}.proj.bias"])


def _transformer_block(t, name, x):
    width, height, length = x.shape[1:]
    side = round(t[f"{name}.attn.attention_biases"].shape[1] ** 0.5)
    padded = F.pad(x, (0, -length % side, 0, -height % side))
    attended = torch.empty_like(padded)
    for top in range(0, padded.shape[2], side):
        for left in range(0, padded.shape[3], side):
            window = padded[0, :, top : top + side, left : left + side]
            tokens = _window_attention(t, f"{name}.attn", window.reshape(width, -1).T, side)
            attended[0, :, top : top + side, left : left + side] = tokens.T.reshape(width, side, side)
    x = x + attended[:, :, :height, :length]
    x = _conv_norm(t, f"{name}.local_conv", x, groups=width)
    inner = x.permute(0, 2, 3, 1)
    inner = F.layer_norm(inner, (width,), t[f"{name}.mlp.norm.weight"], t[f"{name}.mlp.norm.bias"])
    inner = F.gelu(F.linear(inner, t[f"{name}.mlp.fc1.weight"], t[f"{name}.mlp.fc1.bias"]))
    inner = F.linear(inner, t[f"{name}.mlp.fc2.weight"], t[f"{name}.mlp.fc2.bias"])
    return x + inner.permute(0, 3, 1, 2)


def _channel_norm(t, name, x):
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    scaled = (x - mean) / torch.sqrt(variance + 1e-6)
    return scaled * t[f"{name}.weight"][:, None, None] + t[f"{name}.bias"][:, None, None]


def encode(tensors, pixels, depths):
    """Features (1, C, H/16, W/16) of one normalised image; `tensors` by original name without a prefix."""
    t = tensors
    x = F.gelu(_conv_norm(t, "patch_embed.seq.0", pixels, stride=2))
    x = _conv_norm(t, "patch_embed.seq.2", x, stride=2)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            x = _inverted_bottleneck(t, name, x) if stage == 0 else _transformer_block(t, name, x)
        if stage < len(depths) - 1:
            x = _merge(t, f"layers.{stage}.downsample", x, stride=1 if stage == len(depths) - 2 else 2)
    x = F.conv2d(x, t["neck.0.weight"])
    x = _channel_norm(t, "neck.1", x)
    x = F.conv2d(x, t["neck.2.weight"], padding=1)
    return _channel_norm(t, "neck.3", x)
