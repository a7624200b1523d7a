"""What the check of a points file can find, how bad each is, and what to do about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]


class Kind(NamedTuple):
    """One kind of finding."""

    severity: Severity
    """``error``: nothing else can run before it is mended; ``warning``: legal, but probably not meant;
    ``note``: legal and perhaps meant."""
    advice: str
    """What a person can do."""


KINDS: dict[str, Kind] = {
    "file": Kind("error", "mend the points file"),
    "image folder": Kind("error", "give the right folder with --images"),
    "image missing": Kind("error", "put the file there, or correct file_name"),
    "image unreadable": Kind("error", "restore the file"),
    "image of another size": Kind(
        "error", "click on the picture turned as EXIF says; correct width and height"
    ),
    "point outside": Kind("error", "move the point into its image, or delete it"),
    "point on the border": Kind("warning", "look whether the object is really cut off there"),
    "same click twice": Kind("warning", "delete one of the two"),
    "clicks on one pixel": Kind("warning", "delete one, unless these are two objects"),
    "negative point on its click": Kind("warning", "delete the negative point"),
    "click outside its bbox": Kind("warning", "check click and bbox; one belongs to another object"),
    "tiny object": Kind("warning", "expect poor masks, or use larger images"),
    "class without clicks": Kind("warning", "click some objects, or remove the class"),
    "class with few clicks": Kind("warning", "click more objects"),
    "class imbalance": Kind("warning", "click more of the rare class"),
    "file listed twice": Kind("warning", "unite the two image entries"),
    "turned by EXIF": Kind("warning", "make sure the clicks were made on the turned picture"),
    "image without clicks": Kind("note", "right if there is no object; otherwise click or remove the image"),
    "file not listed": Kind("note", "nothing, unless these images have clicks somewhere"),
}
"""Every kind, worst first."""


class Finding(NamedTuple):
    """One thing that was found."""

    kind: str
    """A key of :data:`KINDS`."""
    text: str
    """One sentence, with the file and the id."""


@dataclass(frozen=True)
class CheckReport:
    """What :func:`sapnet.data.check.check_points` found."""

    findings: tuple[Finding, ...]
    summary: dict[str, Any] = field(default_factory=dict)
    """``images``, ``images_without_clicks``, ``clicks``, ``clicks_per_image`` (mean, max), and
    ``classes``: one row per class (id, name, clicks, images)."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences: must be mended before anything else can run."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences: legal, but probably not meant."""
        return self._of("warning")

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences: legal and perhaps meant."""
        return self._of("note")

    @property
    def ok(self) -> bool:
        """True where there are no problems."""
        return not self.problems

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row per kind found, worst first: ``kind``, ``severity``, ``count``, ``advice``, ``first``."""
        counts = Counter(finding.kind for finding in self.findings)
        first = {finding.kind: finding.text for finding in reversed(self.findings)}
        return [
            {
                "kind": name,
                "severity": kind.severity,
                "count": counts[name],
                "advice": kind.advice,
                "first": first[name],
            }
            for name, kind in KINDS.items()
            if counts[name]
        ]

    def _of(self, severity: Severity) -> tuple[str, ...]:
        return tuple(item.text for item in self.findings if KINDS[item.kind].severity == severity)
