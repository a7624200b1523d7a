"""Settings of a row: the benchmark's with some changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sapnet.config import Config


def with_changes(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return settings with some changed, validated anew.

    Args:
        config: The settings.
        changes: Nested like a config file.
    """

    def merge(old: Any, new: Any) -> Any:
        if isinstance(old, dict) and isinstance(new, Mapping):
            return old | {key: merge(old.get(key), value) for key, value in new.items()}
        return new

    merged = merge(json.loads(config.model_dump_json()), changes)
    return Config.model_validate_json(json.dumps(merged))
