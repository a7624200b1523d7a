"""What the jobs leave on disk, as objects: proposal stores and run folders."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet.api.arguments import AnyPath, Device
from sapnet.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from sapnet.api.labels import Labels
    from sapnet.api.model import Model
    from sapnet.config import Config
    from sapnet.proposals.proposer import ImageProposals
    from sapnet.proposals.store import ProposalStore


class Proposals:
    """A proposal store: for every click a bag of masks, best proposer score first.

    Everything that takes the folder of a store takes this too.

    Args:
        path: The folder.
        figures: What ``sapnet propose --json`` prints.

    Raises:
        StoreError: There is no finished store; lists every reason.
    """

    def __init__(self, path: AnyPath, figures: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.figures = dict(figures or {})
        self._store  # noqa: B018 - opened here, so that a folder without a store is refused at once

    @cached_property
    def _store(self) -> ProposalStore:
        from sapnet.proposals.store import ProposalStore

        return ProposalStore.open(self.path)

    @property
    def manifest(self) -> dict[str, Any]:
        """The content of ``manifest.json``: proposer and its settings, digests, counts."""
        return self._store.manifest

    @property
    def skipped(self) -> dict[int, str]:
        """Why images were left out, by image id."""
        return self._store.skipped

    def of_image(self, image_id: int) -> ImageProposals:
        """Read the proposals of one image; no other image's are read.

        Args:
            image_id: Id of the image in the points file.

        Returns:
            Run lengths, boxes (``xyxy``, pixels of the image), scores and kinds; ``masks()`` decodes.

        Raises:
            StoreError: The store has no such image, or is damaged.
        """
        return self._store.of_image(image_id)

    def __iter__(self) -> Iterator[ImageProposals]:
        """Yield the proposals of every image, by rising image id."""
        return iter(self._store)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._store)

    def __fspath__(self) -> str:
        """Return the folder."""
        return os.fspath(self.path)

    def __repr__(self) -> str:
        counts = self.manifest["counts"]
        name = self.manifest["proposer"]["name"]
        return f"<Proposals {str(self.path)!r}: {counts['proposals']} by {name!r} for {len(self)} images>"


class Run:
    """A run folder: settings, model, metrics and, after :func:`sapnet.run`, labels and report.

    Everything that takes a run folder or a model takes this too.

    Args:
        path: The folder.
        figures: What the verb that made it prints with ``--json``.

    Raises:
        CheckpointError: It is no run folder.
    """

    def __init__(self, path: AnyPath, figures: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.figures = dict(figures or {})
        if not (self.path / "config.yaml").is_file():
            raise CheckpointError(str(path), ["is no run folder: it has no config.yaml"])

    @cached_property
    def config(self) -> Config:
        """All settings of the run."""
        from sapnet.config_loader import load_config

        return load_config(self.path / "config.yaml")

    @cached_property
    def inputs(self) -> dict[str, Path | None]:
        """What it was trained on: ``points``, ``images``, ``proposals`` and so on; None where absent."""
        try:
            content = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
            return {name: None if path is None else Path(path) for name, path in content["inputs"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                str(self.path / "environment.json"), [f"cannot be read: {error}"]
            ) from error

    @property
    def evaluation(self) -> dict[str, Any]:
        """Figures against ground truth: ``labels`` and ``validation``, where they were measured."""
        path = self.path / "evaluation.json"
        if path.is_file():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        return {key: self.figures[key] for key in ("validation",) if key in self.figures}

    @property
    def report(self) -> Path | None:
        """The HTML report, if there is one."""
        path = self.path / "report.html"
        return path if path.is_file() else None

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of ``metrics.jsonl``: losses per step and figures of evaluations."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def labels(self) -> Labels:
        """Return the labels that :func:`sapnet.run` wrote.

        Raises:
            DataError: There are none; :func:`sapnet.label` makes them.
        """
        from sapnet.api.labels import load_labels

        path = self.path / "labels.json"
        if not path.is_file():
            raise DataError(str(path), ["there are no labels in this run; make them with sapnet.label(run)"])
        return load_labels(path)

    def model(self, *, device: Device = "auto") -> Model:
        """Load the trained segmenter.

        Args:
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

        Raises:
            CheckpointError: The run is unfinished, damaged or has no segmenter.
        """
        from sapnet.api.model import load_model

        return load_model(self.path, device=device)

    def __fspath__(self) -> str:
        """Return the folder."""
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"<Run {str(self.path)!r}>"


def load_proposals(path: AnyPath) -> Proposals:
    """Open a proposal store.

    Args:
        path: Its folder.

    Raises:
        StoreError: It is missing, unfinished or damaged; lists every reason.
    """
    return Proposals(path)


def load_run(path: AnyPath) -> Run:
    """Open a run folder.

    Args:
        path: The folder.

    Raises:
        CheckpointError: It is no run folder.
    """
    return Run(path)
