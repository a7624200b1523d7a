"""The members of the SAM family: their names, classes in ``transformers``, and default checkpoints."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sapnet.errors import InputError, nearest

INSTALL_COMMAND = "pip install 'sapnet[sam]'"
"""What installs the optional extra."""

Precision = Literal["no", "bf16", "fp16"]
"""Mixed precision: none (float32), bfloat16 or float16, as in ``training.precision``."""


@dataclass(frozen=True)
class SamFamily:
    """What tells one member of the family from the others."""

    name: str
    """The proposer's name."""
    title: str
    """What people call it."""
    model_class: str
    """Class in ``transformers``."""
    image_processor_class: str
    """Class in ``transformers`` that resizes and normalises images and brings masks back to their size."""
    model_types: tuple[str, ...]
    """Values of ``model_type`` in ``config.json`` that the class can load. Checkpoints on the hub are often
    of the video model, whose image half the class takes."""
    hub_id: str
    """Checkpoint on the hub that is used where none is named."""
    keeps_aspect: bool
    """True where the longer side is resized and the rest padded, false where images are stretched."""
    has_early_features: bool = False
    """True where the mask decoder also wants features of an early layer of the image encoder."""
    gated: bool = False
    """True where the hub asks for a licence to be accepted."""


SAM_FAMILIES = (
    SamFamily(
        name="sam",
        title="SAM",
        model_class="SamModel",
        image_processor_class="SamImageProcessor",
        model_types=("sam",),
        hub_id="facebook/sam-vit-huge",
        keeps_aspect=True,
    ),
    SamFamily(
        name="sam-hq",
        title="HQ-SAM",
        model_class="SamHQModel",
        image_processor_class="SamImageProcessor",
        model_types=("sam_hq",),
        hub_id="syscv-community/sam-hq-vit-huge",
        keeps_aspect=True,
        has_early_features=True,
    ),
    SamFamily(
        name="sam2",
        title="SAM 2",
        model_class="Sam2Model",
        image_processor_class="Sam2ImageProcessor",
        model_types=("sam2", "sam2_video"),
        hub_id="facebook/sam2.1-hiera-large",
        keeps_aspect=False,
    ),
    SamFamily(
        name="sam3",
        title="SAM 3",
        model_class="Sam3TrackerModel",
        image_processor_class="Sam3ImageProcessor",
        model_types=("sam3_tracker", "sam3_tracker_video", "sam3_video"),
        hub_id="facebook/sam3",
        keeps_aspect=False,
        gated=True,
    ),
    SamFamily(
        name="edgetam",
        title="EdgeTAM",
        model_class="EdgeTamModel",
        image_processor_class="Sam2ImageProcessor",
        model_types=("edgetam", "edgetam_video"),
        hub_id="yonigozlan/EdgeTAM-hf",
        keeps_aspect=False,
    ),
)
"""All members, oldest first."""

SAM_NAMES = tuple(family.name for family in SAM_FAMILIES)
"""The proposer names of the members."""


def family_named(name: str) -> SamFamily:
    """Return the member with a proposer name.

    Raises:
        InputError: There is none of that name.
    """
    for family in SAM_FAMILIES:
        if family.name == name:
            return family
    known = ", ".join(SAM_NAMES)
    raise InputError(
        "the proposer",
        [f"{name!r} is no member of the SAM family{nearest(name, SAM_NAMES)}; known: {known}."],
    )


def check_precision(precision: str) -> None:
    """Refuse a precision that is not there.

    Raises:
        InputError: It is none of :data:`Precision`.
    """
    known = get_args(Precision)
    if precision not in known:
        problem = f"precision is {precision!r}{nearest(precision, known)}; expected {', '.join(known)}."
        raise InputError("the proposer", [problem])


def family_of_model_type(model_type: str) -> SamFamily | None:
    """Return the member whose checkpoints have this ``model_type`` in ``config.json``, or None."""
    return next((family for family in SAM_FAMILIES if model_type in family.model_types), None)


def class_of_transformers(name: str) -> Any:
    """Return a class of ``transformers`` by name, importing the package.

    Raises:
        InputError: The package is not installed, lacks something, or is too old to have the class; the
            message has the command that mends it.
    """
    try:
        package = importlib.import_module("transformers")
    except ImportError as error:
        problem = (
            f"The proposers of the SAM family need the package transformers ({error}); run: {INSTALL_COMMAND}"
        )
        raise InputError("this installation", [problem]) from error
    try:
        return getattr(package, name)
    except (AttributeError, ImportError) as error:
        version = getattr(package, "__version__", "of unknown version")
        upgrade = INSTALL_COMMAND.replace("install", "install -U")
        problem = f"transformers {version} cannot provide {name} ({error}); run: {upgrade}"
        raise InputError("this installation", [problem]) from error
