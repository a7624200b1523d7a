"""One self-contained HTML file about a run, a benchmark or a proposal store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapnet.data.atomic import write_text_atomic
from sapnet.errors import InputError
from sapnet.proposals.store import MANIFEST_NAME
from sapnet.report import sections
from sapnet.report.bags import store_sections
from sapnet.report.bench import BENCH_FILE, bench_sections
from sapnet.report.gallery import gallery_section
from sapnet.report.markup import Markup, section, tag
from sapnet.report.overlays import training_section, validation_section
from sapnet.report.page import page
from sapnet.report.pictures import Album
from sapnet.report.run_contents import RunContents, read_run

__all__ = ["write_report"]


def write_report(
    folder: Path | str,
    out: Path | str,
    *,
    default_settings: Mapping[str, Any] | None = None,
    points: Path | None = None,
    images: Path | None = None,
    instances: Path | None = None,
) -> Path:
    """Write the report of a run folder, a benchmark folder (one with ``bench.json``) or a proposal store.

    The file needs no network and no other file, and stays below 8 MB. Works without ground truth and
    with missing pieces; the page says what is missing.

    Args:
        folder: Run or benchmark folder, or proposal store.
        out: HTML file to write.
        default_settings: ``Config().model_dump(mode="json")``; the report then lists only the settings
            that differ from it. Without it all settings are listed.
        points: Of a store: the points file it was made from.
        images: Of a store: the folder of its images.
        instances: Of a store: ground truth, if overlaps are to be shown.

    Returns:
        The written file.

    Raises:
        InputError: The folder is none of them, or what a store needs is not given or does not fit.
        JobError: The file cannot be written; an old one is intact.
    """
    folder, out = Path(folder), Path(out)
    is_store = (folder / MANIFEST_NAME).is_file()
    given = {"--points": points, "--images": images, "--instances": instances}
    if not is_store and any(given.values()):
        names = ", ".join(name for name, path in given.items() if path is not None)
        raise InputError(str(folder), [f"It is no proposal store; {names} are for the report of a store."])
    if is_store:
        if points is None or images is None:
            problem = "The report of a proposal store needs --points and --images that it was made from."
            raise InputError(str(folder), [problem])
        title, named = store_sections(folder, points, images, instances, Album())
        document = page(title, str(folder.resolve()), named)
    elif (folder / BENCH_FILE).is_file():
        title, named = bench_sections(folder)
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
