"""Loads any member of the SAM family, ready to encode images and decode prompts."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sapnet.errors import CheckpointError
from sapnet.proposals.sam.checkpoints import (
    SamCheckpoint,
    command_to_get_again,
    find_checkpoint,
    first_words,
)
from sapnet.proposals.sam.families import (
    Precision,
    SamFamily,
    check_precision,
    class_of_transformers,
    family_named,
)
from sapnet.proposals.sam.high_quality import complete_mask_decoder
from sapnet.proposals.sam.original_weights import load_original

_DTYPES = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class LoadedSam:
    """A model on its device, with what brings images to its frame and masks back."""

    family: SamFamily
    model: Any
    """The class of ``transformers`` that the family names, in evaluation mode, float32."""
    image_processor: Any
    """The image processor of the checkpoint."""
    device: torch.device
    autocast_dtype: torch.dtype | None
    """The type that layers compute in, or None for float32."""

    def computing(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which the model runs: its precision."""
        if self.autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast_dtype)


def load_sam(
    name: str,
    checkpoint: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "no",
    offline: bool = True,
) -> LoadedSam:
    """Load a member of the SAM family.

    Args:
        name: The proposer's name: ``sam``, ``sam-hq``, ``sam2``, ``sam3`` or ``edgetam``.
        checkpoint: A folder in the format of ``transformers``, an original ``.pth`` file (SAM, HQ-SAM,
            MobileSAM), or an id on the hub; None is the member's default on the hub.
        device: Where the model computes.
        precision: Mixed precision.
        offline: Never ask the hub; what is in its local cache is used.

    Raises:
        CheckpointError: The checkpoint is missing, gated, incomplete, corrupt or of another member; the
            message has the command that mends it.
        InputError: The extra ``sam`` is not installed, or a setting has no such value.
    """
    return load_checkpoint(
        find_checkpoint(family_named(name), checkpoint, offline=offline), device=device, precision=precision
    )


def load_checkpoint(
    checkpoint: SamCheckpoint, *, device: str | torch.device = "cpu", precision: Precision = "no"
) -> LoadedSam:
    """Load the model of a checkpoint that was found; arguments and errors as in :func:`load_sam`."""
    check_precision(precision)
    family = checkpoint.family
    model_class = class_of_transformers(family.model_class)
    processor_class = class_of_transformers(family.image_processor_class)
    with _quiet_transformers():
        if checkpoint.is_original:
            original = load_original(checkpoint)
            model: Any = original.model
            side = original.image_size
            processor = processor_class(size={"longest_edge": side}, pad_size={"height": side, "width": side})
        else:
            model = _from_folder(model_class, checkpoint)
            processor = _image_processor(processor_class, checkpoint)
    if family.has_early_features:
        complete_mask_decoder(model.mask_decoder)
    target = torch.device(device)
    return LoadedSam(family, model.eval().to(target), processor, target, _DTYPES[precision])


def _from_folder(model_class: Any, checkpoint: SamCheckpoint) -> nn.Module:
    """Load a folder in the format of ``transformers``."""
    folder, family = checkpoint.path, checkpoint.family
    again = command_to_get_again(family, checkpoint.label)
    try:
        model, info = model_class.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    # What a damaged file makes transformers and safetensors raise is of many kinds, without a common base.
    except Exception as error:
        problem = (
            f"Its weights cannot be loaded ({first_words(error)}). The files may be corrupt; get them again: "
            f"{again}"
        )
        raise CheckpointError(checkpoint.label, [problem]) from error
    # The counters of batch normalisation are not used; older conversions left them out.
    missing = sorted(name for name in info["missing_keys"] if not name.endswith("num_batches_tracked"))
    if missing:
        problem = (
            f"Its weights lack {len(missing)} tensors of {family.title}, such as {missing[0]}; get a whole "
            f"checkpoint: {again}"
        )
        raise CheckpointError(checkpoint.label, [problem])
    mismatched = sorted(str(item[0]) for item in info.get("mismatched_keys", ()))
    if mismatched:
        problem = (
            f"{len(mismatched)} tensors do not have the shapes that its config.json says, such as "
            f"{mismatched[0]}; get a whole checkpoint: {again}"
        )
        raise CheckpointError(checkpoint.label, [problem])
    return model


def _image_processor(processor_class: Any, checkpoint: SamCheckpoint) -> Any:
    try:
        return processor_class.from_pretrained(checkpoint.path, local_files_only=True)
    # As above: what a damaged JSON file raises has no common base.
    except Exception as error:
        problem = (
            f"Its image processor settings cannot be read ({first_words(error)}); get them again: "
            f"{command_to_get_again(checkpoint.family, checkpoint.label)}"
        )
        raise CheckpointError(checkpoint.label, [problem]) from error


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep warnings and progress bars of ``transformers`` off the screen; problems are raised here."""
    messages: Any = importlib.import_module("transformers.utils.logging")
    level, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    try:
        yield
    finally:
        messages.set_verbosity(level)
        if bars:
            messages.enable_progress_bar()
