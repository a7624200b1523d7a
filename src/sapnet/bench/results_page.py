"""``docs/results.md``: every table that there is to measure, from the committed files of those that were."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sapnet.bench.bags import BAGS_NAME
from sapnet.bench.meanings import MEANING
from sapnet.bench.results_overview import overview
from sapnet.bench.rows import Row, Source
from sapnet.bench.tables import EXPERIMENTS
from sapnet.config import Config
from sapnet.errors import DataError
from sapnet.evaluation.bag_tables import as_markdown
from sapnet.evaluation.bench_tables import bench_tables

PLANNED: dict[tuple[str, Source], tuple[str, ...]] = {
    ("street4", "simulated"): tuple(EXPERIMENTS),
    ("street4", "builtin"): tuple(EXPERIMENTS),
    ("voc20", "simulated"): ("stages", "components", "presets"),
    ("voc20", "builtin"): ("stages", "components", "presets"),
    ("scenes", "simulated"): ("presets",),
    ("scenes", "builtin"): ("presets",),
}
"""Which experiments are to be measured on which data with which proposals."""
PLANNED_BAGS = ("street4", "voc20")
"""Of which data the bags are."""

_SCHEDULE = "-c configs/street4.yaml training.epochs=4"
_SCHEDULES = {"scenes": "--segmenter-seeds 0 -c src/sapnet/configs/demo.yaml"}
"""Of data sets that have another one."""
_NAMES = {"simulated": "simulated SAM", "builtin": "built-in proposer", "regions": "`regions`"}
_BAGS_MEANING = (
    "How good each proposer's masks are before anything is trained. `builtin: both` is the default; "
    "`regions` has GrabCut masks besides its region tree."
)
_HEAD = """# Results

Written by `make results` from `benchmarks/results/*.json`; do not edit. `DATA` holds the data sets
(street4: 334 photographs of four classes for training and 297 for validation; voc20: 270 and 243 of
twenty; scenes: the 60 drawn ones of `sapnet demo --out DATA`), `OUT` is any folder, which all commands
should share: proposals, trainings and labels that tables have in common are made once, and the same command
goes on where it was stopped. `make results ARGS=OUT` then adds the figures to those that are there already,
by row and seed (so a table can be measured in parts, also on several machines), and writes this page. Two
commands at once, one core each (`OMP_NUM_THREADS=1`), get along with one `OUT`.

*Simulated* SAM draws its proposals from ground truth, with the ambiguity of SAM's; such figures measure the
selection, not a proposer. AP is of the validation images, mask mIoU of the labels of the training images.
Ground truth teaches the rows of full supervision and nothing else.
"""


def results_page(folder: Path) -> str:
    """Write the page.

    Args:
        folder: Holds ``EXPERIMENT-DATA-SOURCE.json``, the ``bench.json`` of what has been measured, maybe
            with a ``.md`` of the same name that says in words what it shows, and ``bags-DATA.json``, the
            tables of bags.

    Returns:
        Markdown; the same for the same files.

    Raises:
        DataError: A file is no benchmark, or not the one that its name says.
    """
    planned = [
        (name, data, source, EXPERIMENTS[name](source, Config()))
        for (data, source), names in PLANNED.items()
        for name in names
    ]
    contents = {
        (name, data, source): _read(path)
        for name, data, source, _ in planned
        if (path := folder / f"{name}-{data}-{source}.json").exists()
    }
    blocks = [_HEAD, overview(contents, planned, _NAMES)]
    for data, source in PLANNED:
        blocks.append(f"## {data}, {_NAMES[source]}\n")
        blocks += [
            _experiment(folder, name, data, source, rows, contents.get((name, data, source)))
            for name, of_data, of_source, rows in planned
            if (of_data, of_source) == (data, source)
        ]
    blocks.append("## Bags of proposals\n")
    blocks += [_bags(folder, data) for data in PLANNED_BAGS]
    return "\n".join(blocks)


def committed_name(content: Mapping[str, Any]) -> str:
    """Return the name of a benchmark's file among the committed ones.

    Args:
        content: Of its ``bench.json``.
    """
    parts = (content["name"], content["data"], content.get("source"))
    return "-".join(part for part in parts if part) + ".json"


def _experiment(
    folder: Path,
    name: str,
    data: str,
    source: Source,
    rows: Sequence[Row],
    content: Mapping[str, Any] | None,
) -> str:
    lines = [f"### `{name}`, {data}, {_NAMES[source]}\n", f"{MEANING[name]}\n"]
    if content is None:
        names = "; ".join(row.label for row in rows)
        command = f"sapnet bench {name} --data DATA/{data} --out OUT --source {source} --seeds 3"
        command = f"{command} {_SCHEDULES.get(data, _SCHEDULE)}"
        lines.append(f"Not measured: {names}. The command:\n\n```\n{command}\n```\n")
        return "\n".join(lines)
    seeds = ", ".join(map(str, content["seeds"]))
    lines.append(
        f"{content['images']} images, {content['clicks']} clicks; seeds {seeds}, AP of the first "
        f"{content['segmenter_seeds']}; {_commits(content['commits'])}.\n"
    )
    lines.append(f"```\n{content['command']}\n```\n")
    tables = bench_tables(content, [(row.label, row.segmenter != "none") for row in rows])
    if any("not measured" in cells for table in tables for cells in table["rows"]):
        lines.append("The same command measures the rows that are not measured yet.\n")
    lines.append(as_markdown(tables).replace("### ", "#### "))
    said = folder / f"{name}-{data}-{source}.md"
    if said.exists():
        lines.append(f"#### What {name} says, {data}, {_NAMES[source]}\n\n{said.read_text(encoding='utf-8')}")
    return "\n".join(lines)


def _commits(names: Sequence[str]) -> str:
    return f"commit{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _bags(folder: Path, data: str) -> str:
    path = folder / f"{BAGS_NAME}-{data}.json"
    content = _read(path) if path.exists() else None
    every = f" --every {content['every']}" if content and content["every"] > 1 else ""
    command = f"sapnet bench {BAGS_NAME} --data DATA/{data} --out OUT{every}"
    lines = [f"### `{BAGS_NAME}`, {data}\n", f"{_BAGS_MEANING}\n"]
    if content is None:
        lines.append("Not measured. The command:\n")
    lines.append(f"```\n{command}\n```\n")
    if content is not None:
        lines.append(as_markdown(content["tables"]).replace("### ", "#### "))
    return "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        named = committed_name(content)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(str(path), [f"is no bench.json of a table: {error}"]) from error
    if named != path.name:
        raise DataError(str(path), [f"holds the figures of {named}"])
    return content
