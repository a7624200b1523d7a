"""Measuring some rows of a table, and writing the table of what is measured already."""

import json

import pytest

from data_builders import write_json
from sapnet.bench import EXPERIMENTS, BenchOptions, run_bench
from sapnet.bench.rows import Row
from sapnet.cli.closing import bench_lines
from sapnet.data.rle import decode_masks
from sapnet.errors import InputError, StoreError
from sapnet.proposals.store import ProposalStore
from training_builders import tiny_config, write_bench_data

QUICK = {
    "training": {"epochs": 1, "selection_warmup_epochs": 0},
    "model": {"mil_head": {"hidden_channels": 16}},
}
ROWS = (
    Row("SAM-top1", labels="top-score"),
    Row("picks", segmenter="fixed"),
    Row("full supervision", labels="truth", segmenter="fixed", source="ground-truth"),
)


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "tiny", lambda source, config: ROWS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_bench_data(tmp_path_factory.mktemp("tiny"))


def bench(data, out, **options):
    return run_bench("tiny", data, out, tiny_config(**QUICK), BenchOptions(quiet=True, **options))


def labels(content):
    return [row["label"] for row in content["rows"]]


def refuse(*_arguments, **_options):
    raise AssertionError("made something")


def test_nothing_is_made_where_only_what_is_kept_is_wanted(data, tmp_path, monkeypatch):
    for name in ("bench.trainings.run_session", "bench.measuring.choose", "bench.data.generate_proposals"):
        monkeypatch.setattr(f"sapnet.{name}", refuse)
    with pytest.raises(InputError, match="no row of tiny is measured with this data, source and settings"):
        bench(data, tmp_path / "out", only_kept=True)
    assert not (tmp_path / "out").exists()


def test_asked_rows_are_measured_and_the_others_shown_as_they_are_kept(data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = bench(data, out, rows=("SAM-top1",), segmenter_seeds=0)
    assert labels(first) == ["SAM-top1"]
    second = bench(data, out, rows=("picks",), seeds=2, segmenter_seeds=0)
    assert labels(second) == ["SAM-top1", "picks"]
    by_label = {row["label"]: row["metrics"]["mask mIoU"]["seeds"] for row in second["rows"]}
    assert by_label == {"SAM-top1": [0], "picks": [0, 1]}

    for name in ("bench.trainings.run_session", "bench.measuring.choose"):
        monkeypatch.setattr(f"sapnet.{name}", refuse)
    assert bench_lines(second)[-1] == "2 of 3 rows are measured"
    # Segmenters are wanted, but none is kept; a third seed neither.
    kept = bench(data, out, seeds=3, segmenter_seeds=2, only_kept=True)
    assert kept["rows"] == second["rows"]

    table = next(out.rglob("bench.json"))
    before = table.read_bytes()
    with pytest.raises(InputError, match="no row of tiny is measured"):
        bench(data, out, only_kept=True, source="builtin")
    _damage_stores(out)
    with pytest.raises(StoreError, match="index"):
        bench(data, out, only_kept=True)
    _unfinish_stores(out)
    with pytest.raises(InputError, match="no row of tiny is measured"):
        bench(data, out, only_kept=True)
    assert table.read_bytes() == before


def _damage_stores(out):
    for index in out.rglob("index.npy"):
        index.write_bytes(index.read_bytes()[:-1])


def _unfinish_stores(out):
    for path in (out / "proposals").rglob("manifest.json"):
        write_json(path, {**json.loads(path.read_text()), "finished": False})


def test_rows_that_are_not_there_are_told_at_once(data, tmp_path):
    with pytest.raises(InputError) as refusal:
        bench(data, tmp_path / "out", rows=("pick", "nothing"))
    assert len(refusal.value.problems) == 2
    assert "did you mean 'picks'" in refusal.value.problems[0]
    with pytest.raises(InputError, match="measured whole"):
        options = BenchOptions(only_kept=True)
        run_bench("bags", data, tmp_path / "out", tiny_config(**QUICK), options)
    assert not (tmp_path / "out").exists()


class Stopped(Exception):
    """Instead of a training."""


def test_a_segmenter_on_the_best_proposals_is_taught_with_them_alone(data, tmp_path, monkeypatch):
    row = Row("best proposal", labels="oracle", segmenter="fixed")
    monkeypatch.setitem(EXPERIMENTS, "tiny", lambda source, config: (row,))
    taught = []

    def train(prepared, learned, config):
        taught.append((learned, config.training.mode))
        raise Stopped

    monkeypatch.setattr("sapnet.bench.measuring._train", train)
    with pytest.raises(Stopped):
        bench(data, tmp_path / "out")
    [(learned, mode)] = taught
    assert mode == "top-score"
    whole = ProposalStore.open(next((tmp_path / "out" / "proposals").glob("simulated-*")))
    truth = {
        item["id"]: item for item in json.loads((data / "instances_train.json").read_text())["annotations"]
    }
    seen = 0
    for bags in whole:
        chosen = learned.store.of_image(bags.image_id)
        for prompt, key in enumerate(bags.annotation_ids.tolist()):
            [wanted] = decode_masks([truth[key]["segmentation"]["counts"].encode()], bags.image_size)
            [best] = chosen.masks(chosen.of_prompt(prompt))
            others = bags.masks(bags.of_prompt(prompt))[:4]  # data.max_proposals
            assert overlap(best, wanted) == max(overlap(mask, wanted) for mask in others)
            seen += 1
    assert seen == 8


def overlap(mask, wanted):
    return (mask & wanted).sum() / (mask | wanted).sum()
