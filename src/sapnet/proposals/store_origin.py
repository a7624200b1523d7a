"""Saying in what the origin of a proposal store differs from what this run would fill it with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_ABSENT = object()


def origin_problems(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Tell what differs between the origins of two stores.

    Args:
        before: Manifest of the store that is there.
        now: Manifest of the one that is wanted.

    Returns:
        One sentence per difference; none where work on the one may go on as work on the other.
    """
    made_by, maker = before["proposer"], now["proposer"]
    if made_by["name"] == maker["name"]:
        problems = settings_problems(made_by["settings"], maker["settings"])
    else:
        problems = [f"Its proposer is {made_by['name']}, this run's is {maker['name']}."]
    for key in ("checkpoint_digest", "points_digest"):
        if before[key] != now[key]:
            old, new = _told(before[key]), _told(now[key])
            problems.append(f"Its {key.replace('_', ' ')} is {old}, this run's is {new}.")
    return problems


def settings_problems(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Tell every setting of a proposer that differs, by its dotted name.

    Args:
        before: JSON-compatible settings of the one that made the store.
        now: Those of this run's.

    Returns:
        One sentence per differing setting; what only one of them has is told once, not leaf by leaf.
    """
    return [
        f"Its proposer's setting {key} is {_told(old)}, this run's is {_told(new)}."
        for key, old, new in _differing(before, now)
    ]


def _differing(before: Any, now: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key in [*before, *(key for key in now if key not in before)]:
        old, new = before.get(key, _ABSENT), now.get(key, _ABSENT)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differing(old, new, f"{prefix}{key}.")
        elif old != new:
            yield prefix + key, old, new


def _told(value: Any) -> str:
    if value is _ABSENT:
        return "not set"
    if isinstance(value, Mapping):
        # A second opinion has a name; of other groups it is enough that they are there.
        return str(value.get("name", "set"))
    return json.dumps(value)
