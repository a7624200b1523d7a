"""Where the weights of a SAM are: a folder, an original file, or an id on the hub; and their digest.

Nothing here reads tensors; what is found wrong here is found before any image is opened.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapnet.errors import CheckpointError
from sapnet.proposals.sam.families import (
    SamFamily,
    class_of_transformers,
    family_of_model_type,
)

_ORIGINAL_SUFFIXES = (".pth", ".pt")
_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_FROM_HUB = ["config.json", *_PROCESSOR_FILES, "*.safetensors", "*.safetensors.index.json"]
_BLOCK = 2**20


@dataclass(frozen=True)
class SamCheckpoint:
    """Files on this machine that hold one model."""

    family: SamFamily
    path: Path
    """A folder in the format of ``transformers``, or one file of original weights."""
    weight_files: tuple[Path, ...]
    """The files with tensors, by name."""
    label: str
    """What messages call it: what the user gave."""

    @property
    def is_original(self) -> bool:
        """True for a file of original weights."""
        return self.path.is_file()


def find_checkpoint(
    family: SamFamily, checkpoint: str | Path | None = None, *, offline: bool = True
) -> SamCheckpoint:
    """Find the files of a checkpoint, without loading them.

    A folder or file of that name comes first, then the hub's local cache, and the hub itself only where
    ``offline`` is false.

    Args:
        family: The member of the family that the user asked for.
        checkpoint: A folder in the format of ``transformers``, a ``.pth`` file of the original authors, or
            ``owner/name`` on the hub; None is the member's default on the hub.
        offline: Never ask the hub.

    Raises:
        CheckpointError: It is not there, incomplete, gated, or of another member of the family; the message
            has the command that mends it.
    """
    label = str(checkpoint or family.hub_id)
    path = Path(label).expanduser()
    if path.is_dir():
        return _in_folder(family, path, label)
    if path.is_file():
        return _original_file(family, path, label)
    if not _is_hub_id(label, explicit_path=isinstance(checkpoint, Path)):
        problem = (
            f"There is no such folder or file; expected {_expected(family)}. To get one: "
            f"{download_command(family)}"
        )
        raise CheckpointError(label, [problem])
    return _in_folder(family, _from_hub(family, label, offline=offline), label)


def checkpoint_digest(checkpoint: SamCheckpoint) -> str:
    """Return ``sha256:`` and the digest over the weight files, by name, read block by block.

    Raises:
        CheckpointError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for path in checkpoint.weight_files:
        try:
            for block in _blocks(path):
                digest.update(block)
        except OSError as error:
            raise CheckpointError(checkpoint.label, [f"{path.name} cannot be read ({error})."]) from error
    return f"sha256:{digest.hexdigest()}"


def first_words(error: BaseException) -> str:
    """Return the first sentence of an error's text, or its kind where it has none.

    What follows in messages of torch is advice for programmers, some of it dangerous here.
    """
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0].rstrip(".") if lines else type(error).__name__


def download_command(family: SamFamily, folder: str | None = None) -> str:
    """Return the command that fetches the default checkpoint of a member.

    Args:
        family: The member.
        folder: Where it is to lie; a folder named like the member where None.
    """
    return f"hf download {family.hub_id} --local-dir {folder or family.name}"


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _expected(family: SamFamily) -> str:
    return (
        f"a folder in the format of transformers, an original .pth file, or an id on the hub such as "
        f"{family.hub_id}"
    )


def _is_hub_id(label: str, *, explicit_path: bool) -> bool:
    """Tell ``owner/name`` from a mistyped path."""
    if explicit_path or label.startswith((".", "~", "/")) or "\\" in label:
        return False
    if label.endswith((*_ORIGINAL_SUFFIXES, ".safetensors")):
        return False
    return label.count("/") == 1 and all(label.split("/"))


def _original_file(family: SamFamily, path: Path, label: str) -> SamCheckpoint:
    if path.suffix.lower() not in _ORIGINAL_SUFFIXES:
        problem = (
            f"It is a {path.suffix or 'nameless'} file; expected {_expected(family)}. To get one: "
            f"{download_command(family)}"
        )
        if path.suffix == ".safetensors":
            problem = f"Give the folder that holds it ({path.parent}), with its config.json."
        raise CheckpointError(label, [problem])
    if not family.keeps_aspect:
        problem = (
            f"Original weight files are read for sam and sam-hq only; for {family.name} give a folder in the "
            f"format of transformers: {download_command(family)}"
        )
        raise CheckpointError(label, [problem])
    return SamCheckpoint(family, path, (path,), label)


def _in_folder(family: SamFamily, folder: Path, label: str) -> SamCheckpoint:
    problems = []
    settings = _read_config(folder, label, family)
    found = str(settings.get("model_type"))
    if found not in family.model_types:
        raise CheckpointError(label, [_wrong_family(family, found)])
    if not any((folder / name).is_file() for name in _PROCESSOR_FILES):
        problems.append(
            f"It has no {_PROCESSOR_FILES[0]}, which says how images are resized and normalised; "
            f"{_again(family, label)}"
        )
    weights = next((files for pattern in _WEIGHT_PATTERNS if (files := sorted(folder.glob(pattern)))), [])
    if not weights:
        problems.append(f"It has no weights ({' or '.join(_WEIGHT_PATTERNS)}); {_again(family, label)}")
    if problems:
        raise CheckpointError(label, problems)
    return SamCheckpoint(family, folder, tuple(weights), label)


def command_to_get_again(family: SamFamily, label: str) -> str:
    """Return the command that fetches a checkpoint anew.

    Args:
        family: The member.
        label: What the user gave: a folder, or an id on the hub.
    """
    if Path(label).expanduser().is_dir():
        return download_command(family, label)
    return f"hf download {label} --force-download"


def _again(family: SamFamily, label: str) -> str:
    return f"get all of it: {command_to_get_again(family, label)}"


def _read_config(folder: Path, label: str, family: SamFamily) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        originals = [file for suffix in _ORIGINAL_SUFFIXES for file in sorted(folder.glob(f"*{suffix}"))]
        hint = f"give the file itself ({originals[0]})" if originals else _again(family, label)
        raise CheckpointError(label, [f"The folder has no config.json; {hint}."])
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            label, [f"config.json cannot be read ({first_words(error)}); {_again(family, label)}"]
        ) from error
    if not isinstance(settings, dict):
        raise CheckpointError(label, [f"config.json holds no object; {_again(family, label)}"])
    return settings


def _wrong_family(family: SamFamily, found: str) -> str:
    other = family_of_model_type(found)
    if other is None:
        expected = " or ".join(family.model_types)
        return f"Its config.json says model_type {found!r}, expected {expected} for --proposer {family.name}."
    return f"It is a checkpoint of {other.title}, not of {family.title}; use --proposer {other.name}."


def _from_hub(family: SamFamily, label: str, *, offline: bool) -> Path:
    """Return the folder of a checkpoint in the hub's cache, downloading it where allowed."""
    # The hub's client comes with transformers; without the extra the message is about the extra.
    class_of_transformers(family.model_class)
    hub: Any = importlib.import_module("huggingface_hub")
    try:
        cached = Path(hub.snapshot_download(label, allow_patterns=_FROM_HUB, local_files_only=True))
        if (cached / "config.json").is_file() and any(cached.glob("*.safetensors")):
            return cached
    except (OSError, ValueError):
        pass  # not in the cache, or no possible name
    if offline:
        licence = (
            f" (accept the licence on huggingface.co/{label} and run hf auth login before)"
            if family.gated
            else ""
        )
        problem = (
            f"It is no folder here, and not in the hub's local cache. Download it where there is a network: "
            f"hf download {label}{licence}; or allow the download with proposals.sam.offline=false."
        )
        raise CheckpointError(label, [problem])
    try:
        return Path(hub.snapshot_download(label, allow_patterns=_FROM_HUB))
    # What a failing network raises belongs to the client's own client, of changing name.
    except Exception as error:
        raise CheckpointError(label, [_hub_problem(label, error)]) from error


def _hub_problem(label: str, error: Exception) -> str:
    """Say what the hub's refusal means and what mends it."""
    errors: Any = importlib.import_module("huggingface_hub.errors")
    if isinstance(error, errors.GatedRepoError):
        return (
            f"It is gated: accept its licence on https://huggingface.co/{label}, then run: hf auth login, "
            f"and: hf download {label}"
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return (
            "The hub has no model of that name that you may see. Check the spelling on "
            "https://huggingface.co/models; if it is private, run: hf auth login"
        )
    return (
        f"It cannot be downloaded ({type(error).__name__}: {first_words(error)}). "
        f"Try again, or run hf download {label} where there is a network and copy the cache."
    )
