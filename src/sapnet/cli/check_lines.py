"""What ``sapnet points check`` and ``sapnet doctor`` say to people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_LISTED = 20
_GIGABYTE = 2**30
_STATES = {(False, False): "not there", (True, False): "damaged", (True, True): "there"}


def check_lines(figures: dict[str, Any]) -> tuple[str, ...]:
    """Return the report of a points check: all errors, some of the rest, tables, and the verdict last.

    Args:
        figures: What ``pipeline.check_points_file`` returned; nothing is said where that has no table.
    """
    return tuple(_check_lines(figures)) if "table" in figures else ()


def _check_lines(figures: dict[str, Any]) -> Iterator[str]:
    yield from (f"error: {text}" for text in figures["problems"])
    for word, texts in (("warning", figures["warnings"]), ("note", figures["notes"])):
        yield from (f"{word}: {text}" for text in texts[:_LISTED])
        if len(texts) > _LISTED:
            yield f"{len(texts) - _LISTED} more {word}s (--json lists all)"
    summary = figures["summary"]
    if summary and summary["classes"]:
        rows = [[str(row[key]) for key in ("id", "name", "clicks", "images")] for row in summary["classes"]]
        yield from ("", *_columns(["id", "class", "clicks", "images"], rows[: 3 * _LISTED]))
        if len(rows) > 3 * _LISTED:
            yield f"{len(rows) - 3 * _LISTED} more classes (--json lists all)"
    if figures["table"]:
        keys = ("severity", "count", "kind", "advice")
        rows = [[str(row[key]) for key in keys] for row in figures["table"]]
        yield from ("", *_columns(["", "count", "found", "what to do"], rows))
    yield ""
    yield _verdict(figures)


def _verdict(figures: dict[str, Any]) -> str:
    summary = figures["summary"]
    errors, warnings = len(figures["problems"]), len(figures["warnings"])
    counted = f"{summary['clicks']} clicks on {summary['images']} images: " if summary else ""
    found = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    return f"{counted}{found}" + ("; nothing else can run before the errors are mended" if errors else "")


def doctor_lines(figures: dict[str, Any]) -> tuple[str, ...]:
    """Return what ``sapnet doctor`` says.

    Args:
        figures: What :func:`sapnet.doctor.inspect_installation` returned; nothing is said where that lacks
            what is there without network.
    """
    if "offline" not in figures:
        return ()
    devices, memory, offline = figures["devices"], figures["memory"], figures["offline"]
    lines = [f"sapnet {figures['sapnet']}, Python {figures['python']}, {figures['system']}"]
    installed = [f"{name} {version}" for name, version in figures["packages"].items() if version]
    lines.append(f"packages: {', '.join(installed)}")
    for name, extra in figures["extras"].items():
        state = (
            "installed"
            if extra["installed"]
            else f"missing {', '.join(extra['missing'])}: {extra['command']}"
        )
        lines.append(f"extra {name} ({extra['use']}): {state}")
    lines.append(f"device: {devices['auto']} (auto); {devices['cpu_cores']} processor cores")
    for device in devices["cuda"]:
        lines.append(f"GPU: {device['name']}, {_size(device['free'])} free of {_size(device['total'])}")
    lines.append(f"memory: {_size(memory['free'])} free of {_size(memory['total'])}")
    lines.append(f"disk: {_size(figures['free_disk'])} free")
    for name, found in offline["bundled"].items():
        lines.append(f"bundled weights of the {name}: {_STATES[found['found'], found['intact']]}")
    models = (
        ", ".join(f"{item['name']} ({_size(item['bytes'])})" for item in offline["cached_models"]) or "none"
    )
    lines.append(f"models in the hub's cache ({offline['cache']}): {models}")
    lines += [f"proposer {name}: {state}" for name, state in offline["proposers"].items()]
    lines.append(f"without network: {offline['verdict']}")
    lines += [f"warning: {text}" for text in figures["warnings"]]
    lines += [f"problem: {text}" for text in figures["problems"]]
    lines.append("something is missing or broken" if figures["problems"] else "all is well")
    return tuple(lines)


def _size(count: int | None) -> str:
    return "?" if count is None else f"{count / _GIGABYTE:.1f} GB"


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines with aligned columns; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    numeric = [all(row[index].lstrip("-").isdigit() for row in rows) for index in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        yield "  ".join(cells).rstrip()
