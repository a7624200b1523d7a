"""Fixtures and switches shared by all tests."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Before anything imports them: shapes and dtypes of these packages are checked on every call.
from jaxtyping import install_import_hook

install_import_hook(
    ["sapnet.structures", "sapnet.ops", "sapnet.mil", "sapnet.losses", "sapnet.enhancer"],
    "beartype.beartype",
)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test that asks for the shared photographs carries the ``data`` mark."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """No test depends on the global generators' state left by another."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries use the legacy generator
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A numpy generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture
def torch_rng() -> torch.Generator:
    """A torch generator with a fixed seed."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with street4, voc20 and the photographs; skips where it is absent."""
    folder = Path(os.environ.get("SAPNET_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "street4").is_dir():
        pytest.skip(f"no shared photographs at {folder} (set SAPNET_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python ARGS...`` with this package importable and one thread, and capture its output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    paths = [str(ROOT / "src"), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)

    def run(*arguments: object, timeout: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment,
            **options,  # type: ignore[call-overload]
        )

    return run


@pytest.fixture(scope="session")
def run_sapnet(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> Callable:
    """Run ``sapnet ARGS...`` in a process of its own."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        return run_python("-m", "sapnet", *arguments, **options)

    return run
