"""docs/results.md: what is measured, what is not, and that it is the generator's."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data_builders import write_json
from sapnet.bench.paired import ImageSums
from sapnet.bench.results_page import PLANNED, committed_name, results_page
from sapnet.bench.rows import Row
from sapnet.bench.summary import RowResults, table_rows
from sapnet.bench.tables import EXPERIMENTS
from sapnet.errors import DataError
from sapnet.evaluation.bench_tables import MISSING, NOT_WANTED, bench_tables

ROOT = Path(__file__).resolve().parents[2]


def results(label, overlaps, precisions=(), **options):
    """Two images with two and one object; ``overlaps`` by seed."""
    found = RowResults(Row(label, **options), "simulated", clicks=3)
    for seed, values in enumerate(overlaps):
        found.images[seed] = ImageSums.of([1, 1, 2], values)
        found.figures[seed] = {"mask mIoU": sum(values) / 3, "small": None}
    for seed, value in enumerate(precisions):
        found.figures.setdefault(seed, {})["AP"] = value
    return found


@pytest.fixture
def content():
    rows = [
        results("SAM-top1", [[0.2, 0.4, 0.6], [0.3, 0.3, 0.6]], labels="top-score", segmenter="fixed"),
        results("SAPNet, two-stage", [[0.5, 0.4, 0.6], [0.6, 0.3, 0.9]], [0.1], segmenter="fixed"),
        results("full supervision", [], [0.2, 0.4], labels="truth", segmenter="fixed", source="ground-truth"),
    ]
    return {
        "format": 2,
        "name": "stages",
        "data": "street4",
        "source": "simulated",
        "simulated": True,
        "seeds": [0, 1],
        "segmenter_seeds": 2,
        "segmenter_epochs": 8,
        "clicks": 3,
        "images": 2,
        "validation_images": 5,
        "commits": ["abc"],
        "settings": {"training.epochs": 4},
        "planned": ["SAM-top1", "SAPNet, two-stage", "full supervision"],
        "command": "sapnet bench stages --data DATA/street4",
        "rows": table_rows(rows),
    }


def test_means_spreads_and_differences_are_those_of_the_seeds(content):
    first, second, full = content["rows"]
    assert first["metrics"]["mask mIoU"]["mean"] == pytest.approx(0.4)
    assert first["metrics"]["small"]["mean"] is None
    assert second["metrics"]["mask mIoU"] == {
        "mean": pytest.approx(0.55),
        "spread": pytest.approx(0.05 * 2**0.5),
        "values": pytest.approx([0.5, 0.6]),
        "seeds": [0, 1],
    }
    difference = second["differences"]["first"]["mask mIoU"]
    assert difference["mean"] == pytest.approx(0.15)
    assert difference["values"] == pytest.approx([0.1, 0.2])
    assert second["metrics"]["AP of full"]["values"] == pytest.approx([0.5])
    assert full["metrics"]["AP of full"]["values"] == pytest.approx([1.0, 1.0])
    assert full["differences"]["above"]["AP"]["values"] == pytest.approx([0.1])
    assert [row["simulated"] for row in content["rows"]] == [True, True, False]


def test_tables_say_what_is_simulated_missing_or_not_wanted(content):
    planned = [(row["label"], True) for row in content["rows"]] + [("another", False)]
    labels, _, differences, segmenters = bench_tables(content, planned)
    assert all("simulated" in table["caption"] for table in (labels, differences, segmenters))
    cells = {row[0]: dict(zip(labels["header"], row, strict=True)) for row in labels["rows"]}
    assert cells["SAPNet, two-stage"]["mask mIoU"] == "0.550 ± 0.071"
    assert cells["another"]["mask mIoU"] == MISSING
    assert cells["full supervision"]["mask mIoU"] == NOT_WANTED
    changes = {row[0]: row[1:] for row in differences["rows"]}
    assert changes["SAM-top1"] == [NOT_WANTED, NOT_WANTED]
    assert changes["SAPNet, two-stage"][0].startswith("+0.150 [+0.1")
    assert not changes["SAPNet, two-stage"][0].endswith("seeds)")
    fewer = bench_tables({**content, "seeds": [0, 1, 2]})[2]["rows"]
    assert fewer[1][1].endswith("] (2 of 3 seeds)")
    precisions = {row[0]: dict(zip(segmenters["header"], row, strict=True)) for row in segmenters["rows"]}
    assert precisions["SAM-top1"]["AP"] == MISSING
    assert precisions["SAPNet, two-stage"]["AP"] == "0.1000 (1 of 2 seeds)"
    assert precisions["full supervision"]["AP"] == "0.3000 ± 0.1414"


def test_a_bench_without_segmenters_has_no_table_of_them(content):
    assert len(bench_tables({**content, "segmenter_seeds": 0})) == 3


def test_the_page_shows_measured_tables_and_the_commands_of_the_others(content, tmp_path):
    (tmp_path / committed_name(content)).write_text(json.dumps(content))
    page = results_page(tmp_path)
    assert "#### Labels, stages on street4, simulated proposals" in page
    assert "| SAPNet, two-stage | 0.550 ± 0.071 |" in page
    assert "| SAPNet, end to end | not measured |" in page
    assert "The same command measures the rows that are not measured yet." in page
    for (data, source), names in PLANNED.items():
        for name in names:
            assert f"### `{name}`, {data}" in page
            if (name, data, source) != ("stages", "street4", "simulated"):
                assert f"sapnet bench {name} --data DATA/{data} --out OUT --source {source} --seeds 3" in page


def in_short(page):
    """Its tables: first cells to the others."""
    head = page.partition("## In short")[2].partition("## street4")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in head.splitlines() if "|" in line]
    return [row for row in cells if row[0] and not row[0].startswith("---")]


def test_the_head_puts_side_by_side_what_tables_say(content, tmp_path):
    presets = [
        results("SAM-top1", [[0.2, 0.4, 0.6]] * 2, labels="top-score"),
        results("default", [[0.5, 0.4, 0.6], [0.6, 0.3, 0.9]]),
    ]
    tables = [content, {**content, "name": "presets", "rows": table_rows(presets)}]
    mask_rcnn = [
        results(f"Mask R-CNN on {what}", [], [0.1], labels=labels, segmenter="mask-rcnn")
        for what, labels in (("SAPNet's labels", "selection"), ("SAM-top1", "top-score"))
    ]
    full = results("full supervision", [], [0.4], labels="truth", segmenter="mask-rcnn")
    tables.append({**content, "name": "retrain", "rows": table_rows([*mask_rcnn, full])})
    longer = [
        results("SAPNet", [], [0.3], segmenter="fixed"),
        results("SAPNet, 3 times as long", [], [0.3], segmenter="fixed", longer=3),
        results("SAPNet, end to end, 3 times as long", [], [0.4], segmenter="end-to-end", longer=3),
        results("truth", [], [0.4], labels="truth", segmenter="fixed"),
        results("truth, 3 times as long", [], [0.5], labels="truth", segmenter="fixed", longer=3),
    ]
    tables.append({**content, "name": "schedule", "rows": table_rows(longer)})
    for table in tables:
        (tmp_path / committed_name(table)).write_text(json.dumps(table))
    rows = in_short(results_page(tmp_path))
    where = "street4, simulated SAM"
    assert [where, "0.400 ± 0.000", "not measured", "0.550 ± 0.071", "not measured", "not measured"] in [
        row[:6] for row in rows
    ]
    segmenters = [row[1:4] + row[6:7] for row in rows if row[0] == where and "SOLOv2" in row]
    # The row of `schedule` that is as long as that of `stages` is the same training.
    assert segmenters == [
        ["SOLOv2", "8", "SAPNet, two-stage", "0.500"],
        ["SOLOv2", "24", "SAPNet, two-stage", "0.600"],
        ["SOLOv2", "24", "SAPNet, end to end", "0.800"],
    ]
    others = [row[3] for row in rows if "Mask R-CNN" in row]
    assert others == ["SAPNet, two-stage", "SAM-top1"]


def test_the_head_counts_figures_and_links_to_every_table(content, tmp_path):
    (tmp_path / committed_name(content)).write_text(json.dumps(content))
    page = results_page(tmp_path)
    counts = {row[0].partition("]")[0][1:]: row[1:] for row in in_short(page) if row[0].startswith("[")}
    assert len(counts) == sum(map(len, PLANNED.values()))
    # Of the labels SAM-top1 and SAPNet in two of three seeds; AP of SAPNet in one seed, of full supervision
    # in two.
    assert counts["stages, street4, simulated SAM"] == ["4 of 17", "3 of 12"]
    assert counts["stages, voc20, simulated SAM"] == ["0 of 17", "0 of 12"]
    headings = [line.lstrip("# ").replace("`", "") for line in page.splitlines() if line.startswith("###")]
    anchors = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}
    links = re.findall(r"\]\(#([^)]*)\)", page)
    assert len(links) == len(counts)
    assert set(links) <= anchors


def test_every_experiment_is_planned():
    assert {name for names in PLANNED.values() for name in names} == set(EXPERIMENTS)


def test_a_file_under_a_wrong_name_or_of_something_else_is_told(content, tmp_path):
    (tmp_path / "stages-street4-builtin.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="holds the figures of stages-street4-simulated"):
        results_page(tmp_path)
    (tmp_path / "stages-street4-builtin.json").write_text("[]")
    with pytest.raises(DataError, match=r"is no bench\.json"):
        results_page(tmp_path)


def test_the_committed_page_is_the_generator_s():
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert page == results_page(ROOT / "benchmarks" / "results"), "run: make results"


def test_committed_figures_are_small_and_were_copied_whole():
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        content = json.loads(path.read_text())
        assert path.stat().st_size < 200_000
        if content["name"] == "bags":
            assert all(
                table["rows"] and len(table["rows"][0]) == len(table["header"]) for table in content["tables"]
            )
            assert not [table for table in content["tables"] if "seconds per image" in table["header"]]
            continue
        assert content["rows"]
        assert content["command"].startswith(f"sapnet bench {content['name']} ")


@pytest.mark.slow
def test_one_command_adds_figures_and_writes_the_page(content, tmp_path):
    script = tmp_path / "benchmarks" / "results.py"
    script.parent.mkdir()
    (tmp_path / "docs").mkdir()
    script.write_text((ROOT / "benchmarks" / "results.py").read_text())
    measured = tmp_path / "out" / "stages-street4-simulated"
    measured.mkdir(parents=True)
    write_json(measured / "overlaps.json", {"images": [], "rows": {}})
    write_json(measured / "bench.json", {**content, "rows": content["rows"][:2]})
    run = [sys.executable, script, tmp_path / "out"]
    subprocess.run(run, check=True, capture_output=True)
    write_json(measured / "bench.json", {**content, "rows": content["rows"][2:], "commits": ["def"]})
    subprocess.run(run, check=True, capture_output=True)
    copied = script.parent / "results"
    found = json.loads((copied / "stages-street4-simulated.json").read_text())
    assert [row["label"] for row in found["rows"]] == content["planned"]
    figures = [[m for m in row["metrics"].values() if m["values"]] for row in content["rows"]]
    assert [list(row["metrics"].values()) for row in found["rows"]][1:] == figures[1:]
    page = (tmp_path / "docs" / "results.md").read_text()
    assert page == results_page(copied)
    assert "commits abc, def" in page

    write_json(measured / "bench.json", {**content, "clicks": 4})
    refused = subprocess.run(run, check=False, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "not added: clicks differ from" in refused.stderr
    assert json.loads((copied / "stages-street4-simulated.json").read_text()) == found
