"""One self-contained HTML file about a run or a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapnet.data.atomic import write_text_atomic
from sapnet.report import sections
from sapnet.report.bench import BENCH_FILE, bench_sections
from sapnet.report.gallery import gallery_section
from sapnet.report.markup import Markup, section, tag
from sapnet.report.overlays import training_section, validation_section
from sapnet.report.page import page
from sapnet.report.pictures import Album
from sapnet.report.run_contents import RunContents, read_run

__all__ = ["write_report"]


def write_report(
    folder: Path | str, out: Path | str, *, default_settings: Mapping[str, Any] | None = None
) -> Path:
    """Write the report of a run folder, or of a benchmark folder (one with ``bench.json``).

    The file needs no network and no other file, and stays below 8 MB. Works without ground truth and
    with missing pieces; the page says what is missing.

    Args:
        folder: Run or benchmark folder.
        out: HTML file to write.
        default_settings: ``Config().model_dump(mode="json")``; the report then lists only the settings
            that differ from it. Without it all settings are listed.

    Returns:
        The written file.

    Raises:
        InputError: The folder is neither.
        JobError: The file cannot be written; an old one is intact.
    """
    folder, out = Path(folder), Path(out)
    if (folder / BENCH_FILE).is_file():
        title, parts = bench_sections(folder)
        named = list(zip(("results", "settings"), ("Results", "What was run"), parts, strict=False))
        document = page(title, str(folder), named)
    else:
        document = _run_page(read_run(folder), default_settings)
    write_text_atomic(out, document)
    return out


def _run_page(run: RunContents, default_settings: Mapping[str, Any] | None) -> str:
    album = Album()
    found: list[tuple[str, str, Markup | None]] = [
        ("headline", "Headline", sections.headline_section(run)),
        ("examples", "Examples", gallery_section(run, album)),
        ("labels", "Labels", sections.label_section(run)),
        ("segmenter", "Segmenter", sections.validation_section(run)),
        ("curves", "Training", sections.curves_section(run)),
        ("training-images", "Training images", training_section(run, album)),
        ("validation-images", "Predictions", validation_section(run, album)),
        ("settings", "What was run", sections.settings_section(run, default_settings)),
        ("missing", "What is missing", _missing_section(run, album)),
    ]
    shown = [(identifier, name, content) for identifier, name, content in found if content is not None]
    name = run.folder.resolve().name
    return page(f"SAPNet run {name}", f"{run.folder.resolve()} ({run.proposal_words})", shown)


def _missing_section(run: RunContents, album: Album) -> Markup | None:
    problems = list(run.missing)
    if album.left_out:
        problems.append(f"{album.left_out} pictures were left out to keep this file small.")
    if run.label_figures is None and run.validation_figures is None:
        problems.append("There are no figures of quality: the run was not evaluated against ground truth.")
    if not problems:
        return None
    items = [tag("li", problem) for problem in problems]
    return section("missing", "What is missing", tag("ul", *items))
