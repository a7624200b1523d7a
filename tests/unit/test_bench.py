"""The benchmark that trains: what rows share, what is kept, and that rows are what their names say."""

import json
import shutil

import pytest

from data_builders import FakeStore
from sapnet.bench import EXPERIMENTS, BenchOptions, experiments, run_bench, trainings
from sapnet.bench.changes import with_changes, without_effect
from sapnet.bench.data import BenchData
from sapnet.bench.forms import PAPER, SINGLE_MIL
from sapnet.bench.kept import instances_digest, read_picks, write_picks
from sapnet.bench.measuring import Bench, prepare
from sapnet.bench.rows import SOURCES, Clicks, Row
from sapnet.bench.trainings import as_segmenter, with_fixed
from sapnet.config import Config
from sapnet.engine.session import TrainingData
from sapnet.errors import CheckpointError, InputError
from sapnet.evaluation.bench_tables import bench_tables, label_seeds
from sapnet.labels.picks import Pick
from sapnet.report import write_report
from training_builders import tiny_config, write_bench_data

QUICK = {
    "training": {"epochs": 1, "selection_warmup_epochs": 0},
    "model": {"mil_head": {"hidden_channels": 16}},
}
MINED = {"model": {"box_mining": {"enabled": True}}}
ROWS = (
    Row("SAM-top1", labels="top-score"),
    Row("picks", segmenter="fixed"),
    Row("picks, mined", changes=MINED),
    Row("half the images", clicks=Clicks(images=0.5), group="fewer"),
    Row("full supervision", labels="truth", segmenter="fixed", source="ground-truth"),
    Row("end to end", labels="end-to-end", segmenter="end-to-end"),
    Row("picks, twice as long", segmenter="fixed", longer=2),
)
OPTIONS = BenchOptions(seeds=2, segmenter_seeds=1, quiet=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_bench_data(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "tiny", lambda source, config: ROWS)


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXPERIMENTS, "tiny", lambda source, config: ROWS)
        return out, run_bench("tiny", data, out, tiny_config(**QUICK), OPTIONS)


def row_of(content, label):
    return next(row for row in content["rows"] if row["label"] == label)


def trainings_of(out):
    return [path.name for path in (out / "trainings").iterdir() if path.is_dir()]


def test_every_row_has_its_figures_by_seed(done, data):
    out, content = done
    assert [row["label"] for row in content["rows"]] == [row.label for row in ROWS]
    picks = row_of(content, "picks")
    assert picks["metrics"]["mask mIoU"]["seeds"] == [0, 1]
    assert picks["metrics"]["AP"]["seeds"] == [0]
    assert picks["clicks"] == 8
    assert row_of(content, "half the images")["clicks"] == 4
    assert {"AP", "AP50", "AP75"} <= set(row_of(content, "full supervision")["metrics"])
    assert "mask mIoU" not in row_of(content, "full supervision")["metrics"]
    assert "AP" not in row_of(content, "SAM-top1")["metrics"]
    place = out / f"tiny-{data.resolve().name}-simulated" / "bench.json"
    assert json.loads(place.read_text()) == content


def test_labels_of_an_end_to_end_training_are_of_the_seeds_that_ap_has(done):
    assert row_of(done[1], "end to end")["metrics"]["mask mIoU"]["seeds"] == [0]
    labels = bench_tables(done[1])[0]
    cells = {cells[0]: cells[1] for cells in labels["rows"]}
    assert "seeds)" not in cells["end to end"]
    assert [label_seeds("end-to-end", 3, count) for count in (0, 1, 2, 5)] == [1, 1, 2, 3]
    assert label_seeds(ROWS[0].labels, 3, 0) == 3


def test_what_was_run_is_recorded(done, data):
    content = done[1]
    assert content["settings"]["data.max_proposals"] == 4
    assert content["settings"]["training.epochs"] == 1
    assert content["segmenter_epochs"] == 2
    assert content["simulated"] is True
    assert content["digests"]["points"] == BenchData.load(data).points.digest
    command = content["command"]
    assert command.startswith(
        f"sapnet bench tiny --data DATA/{data.name} --out OUT --source simulated --seeds 2"
    )
    assert "model.backbone.name=test_efficientnet" in command
    assert str(data) not in json.dumps(content)


def test_rows_that_teach_the_same_share_a_training(done):
    names = sorted(name.rpartition("-")[0] for name in trainings_of(done[0]))
    # Both seeds of: the selection of `picks` and of the mined row (one), half the images; one seed of
    # three segmenters on fixed labels and of what is trained end to end, labels or not.
    assert names == sorted(
        [f"selection-only-seed-{seed}" for seed in (0, 0, 1, 1)]
        + ["end-to-end-seed-0"]
        + ["top-score-seed-0"] * 3
    )


def test_rows_that_share_a_training_may_pick_otherwise(done):
    rows_of_both = (row_of(done[1], label) for label in ("picks", "picks, mined"))
    folders = [done[0] / "labels" / row["kept"][0] for row in rows_of_both]
    kept = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert kept[0]["training"] == kept[1]["training"]
    assert kept[0]["measured_with"] != kept[1]["measured_with"]


def test_differences_are_between_the_figures_of_the_rows(done):
    first, picks, mined, half, *_ = done[1]["rows"]
    difference = picks["differences"]["first"]
    assert difference["of"] == "SAM-top1"
    gained = picks["metrics"]["mask mIoU"]["mean"] - first["metrics"]["mask mIoU"]["mean"]
    assert difference["mask mIoU"]["mean"] == pytest.approx(gained, abs=1e-3)
    assert (
        difference["mask mIoU"]["low"] <= difference["mask mIoU"]["mean"] <= difference["mask mIoU"]["high"]
    )
    assert mined["differences"]["above"]["of"] == "picks"
    assert first["differences"] == {}
    assert set(half["differences"]) == {"first"}


def test_segmenters_are_measured_against_full_supervision(done):
    full = row_of(done[1], "full supervision")["metrics"]["AP"]["mean"]
    picks = row_of(done[1], "picks")["metrics"]
    if full:
        assert picks["AP of full"]["mean"] == pytest.approx(picks["AP"]["mean"] / full)
    else:
        assert "AP of full" not in picks


def test_a_longer_schedule_is_that_of_the_segmenter_alone(done):
    out, content = done
    once, twice = (row_of(content, label) for label in ("picks", "picks, twice as long"))
    assert once["metrics"]["mask mIoU"] == twice["metrics"]["mask mIoU"]
    assert "AP of full" not in twice["metrics"]
    epochs = [
        json.loads((out / "segmenters" / name / "result.json").read_text())["measured_with"]["settings"]
        for name in (set(once["kept"]) ^ set(twice["kept"]))
    ]
    assert sorted(settings["training.epochs"] for settings in epochs) == [2, 4]


def test_fewer_images_are_trained_on_for_as_many_steps(done):
    out, content = done
    kept = json.loads(
        (out / "labels" / row_of(content, "half the images")["kept"][0] / "result.json").read_text()
    )
    assert kept["measured_with"]["settings"]["training.epochs"] == 2


def test_a_finished_training_keeps_its_model_and_no_checkpoints(done):
    for name in trainings_of(done[0]):
        folder = done[0] / "trainings" / name
        assert (folder / "model.safetensors").exists()
        assert not (folder / "checkpoints").exists()


def test_kept_figures_are_used_again_without_training(data, done, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("trained again")

    monkeypatch.setattr(trainings, "run_session", refuse)
    monkeypatch.setattr("sapnet.bench.measuring.choose", refuse)
    other_loader = tiny_config(**QUICK, data={"num_workers": 2})
    again = run_bench("tiny", data, done[0], other_loader, OPTIONS)
    assert again["rows"] == done[1]["rows"]


def test_another_experiment_finds_what_it_shares(data, done, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "other", lambda source, config: (Row("renamed", segmenter="fixed"),))
    before = trainings_of(done[0])
    found = run_bench("other", data, done[0], tiny_config(**QUICK), OPTIONS)
    assert trainings_of(done[0]) == before
    assert found["rows"][0]["metrics"]["AP"] == row_of(done[1], "picks")["metrics"]["AP"]


def test_rows_with_a_frozen_backbone_share_its_features_and_pick_as_without(
    data, done, tmp_path, monkeypatch
):
    assert not (done[0] / "features").exists()  # its backbone learns
    monkeypatch.setitem(EXPERIMENTS, "other", lambda source, config: (Row("picks", segmenter="fixed"),))
    options = BenchOptions(seeds=1, quiet=True)
    frozen = tiny_config(**{**QUICK, "model": {**QUICK["model"], "backbone": {"frozen_stages": 4}}})
    shared = run_bench("other", data, tmp_path / "shared", frozen, options)
    assert len([*(tmp_path / "shared" / "features").iterdir()]) == 1
    monkeypatch.setattr("sapnet.engine.session.keep_features", lambda *_: None)
    alone = run_bench("other", data, tmp_path / "alone", frozen, options)
    assert not (tmp_path / "alone" / "features").exists()
    assert shared["rows"][0]["metrics"] == alone["rows"][0]["metrics"]


def test_changed_ground_truth_is_measured_anew_and_the_training_kept(data, done, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(done[0], tmp_path / "out")
    path = tmp_path / "data" / "instances_val.json"
    content = json.loads(path.read_text())
    content["annotations"].pop()
    path.write_text(json.dumps(content))
    again = run_bench("tiny", tmp_path / "data", tmp_path / "out", tiny_config(**QUICK), OPTIONS)
    assert trainings_of(tmp_path / "out") == trainings_of(done[0])
    kept = [row_of(content, "picks")["kept"] for content in (again, done[1])]
    labels, segmenter, other_seed = 0, 1, 2
    assert kept[0][segmenter] != kept[1][segmenter]
    assert kept[0][labels] == kept[1][labels]
    assert kept[0][other_seed] == kept[1][other_seed]


def test_the_kinds_that_were_picked_from_simulated_bags_are_a_table(done):
    kinds = [row_of(done[1], label)["metrics"] for label in ("picks", "picks, mined")]
    for metrics in kinds:
        shares = [metrics[name]["mean"] for name in ("part", "whole", "group")]
        assert sum(shares) == pytest.approx(1)
    captions = [table["caption"] for table in bench_tables(done[1])]
    assert any(caption.startswith("What was picked, share of the picks") for caption in captions)


def test_clicks_of_wrong_classes_have_their_own_proposals(data, tmp_path):
    # Clicks of the same class are negative points, so a store of the true classes would tell them.
    bench = Bench(BenchData.load(data), tmp_path, tiny_config(**QUICK), "simulated", 1, True)
    prepared = prepare(bench, Row("wrong", clicks=Clicks(wrong_classes=1.0)), 0)
    assert (prepared.points.annotation_labels != bench.data.points.annotation_labels).all()
    assert prepared.learned.store.manifest["points_digest"] == prepared.points.digest


@pytest.mark.parametrize(
    ("row", "images"),
    [
        (Row("fewer", clicks=Clicks(images=0.5)), 4),
        (Row("elsewhere", clicks=Clicks(kind="random", images=0.5)), 2),
        (Row("asked", changes={"proposals": {"second_opinion": "none"}}, clicks=Clicks(images=0.5)), 2),
    ],
)
def test_only_the_store_that_tables_share_is_made_for_all_images(data, tmp_path, row, images):
    bench = Bench(BenchData.load(data), tmp_path, tiny_config(**QUICK), "simulated", 1, True)
    prepared = prepare(bench, row, 0)
    assert (len(bench.data.points.images), len(prepared.points.images)) == (4, 2)
    assert len(prepared.learned.store) == images


def test_prompts_leave_the_built_in_proposer_a_quarter_of_the_images():
    for source, share in (("simulated", 1), ("builtin", 1 / 4)):
        rows = EXPERIMENTS["prompts"](source, Config())
        assert {row.clicks.images for row in rows} == {share}
    (learned,) = [row for row in rows if "enhancer" in row.label]
    assert learned.changes["proposals"]["enhancer"]["epochs"] == 4 * Config().proposals.enhancer.epochs


def test_votes_are_kept_with_the_picks_and_part_what_is_learned_from_them(data, tmp_path):
    picks = {7: Pick(2, 0.5, (0.25, 0.0, 0.75)), 3: Pick(-1, 0.0)}
    write_picks(tmp_path, picks)
    assert read_picks(tmp_path) == picks
    points = BenchData.load(data).points
    learned = TrainingData(points, data, FakeStore({}), {"points": points.digest})
    voted = [picks, {**picks, 7: Pick(2, 0.5, (0.75, 0.0, 0.25))}, {**picks, 7: Pick(2, 0.5)}]
    assert len({with_fixed(learned, item).digests["picks"] for item in voted}) == 3


def test_damaged_figures_and_picks_are_told(data, done, tmp_path, monkeypatch):
    shutil.copytree(done[0], tmp_path / "out")
    folder = tmp_path / "out" / "labels" / row_of(done[1], "picks")["kept"][0]
    (folder / "picks.json").write_text("{")
    shutil.rmtree(tmp_path / "out" / "segmenters")
    with pytest.raises(CheckpointError, match=r"picks\.json\n  no picks of a measured row"):
        run_bench("tiny", data, tmp_path / "out", tiny_config(**QUICK), OPTIONS)
    (folder / "result.json").write_text("{}")
    with pytest.raises(CheckpointError, match="does not say what it was measured with"):
        run_bench("tiny", data, tmp_path / "out", tiny_config(**QUICK), OPTIONS)


def test_the_report_shows_labels_differences_and_segmenters(done, data, tmp_path):
    folder = done[0] / f"tiny-{data.resolve().name}-simulated"
    page = write_report(folder, tmp_path / "report.html").read_text()
    for words in (
        "Labels, tiny on",
        "simulated proposals",
        "Differences of the labels",
        "Segmenters, tiny on",
    ):
        assert words in page
    assert "to the row above" in page


def test_the_same_data_have_the_same_digest_and_other_masks_another(data, tmp_path):
    loaded = BenchData.load(data)
    assert instances_digest(loaded.instances) == instances_digest(loaded.validation)
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "instances_train.json"
    content = json.loads(path.read_text())
    first, second = content["annotations"][:2]
    first["segmentation"] = second["segmentation"]
    path.write_text(json.dumps(content))
    assert instances_digest(BenchData.load(tmp_path / "data").instances) != instances_digest(loaded.instances)


def test_what_does_not_fit_is_told_before_anything_is_done(data, tmp_path):
    config = tiny_config(**QUICK)
    with pytest.raises(InputError) as refusal:
        run_bench("stagse", data, tmp_path / "out", config, BenchOptions(source="sam", every=2))
    assert len(refusal.value.problems) == 3
    assert "did you mean 'stages'" in refusal.value.problems[0]
    warm = tiny_config(training={"epochs": 4, "selection_warmup_epochs": 3})
    with pytest.raises(InputError, match="--segmenter-epochs: 3 must be more"):
        run_bench("stages", data, tmp_path / "out", warm, BenchOptions(segmenter_epochs=3))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "tiny"])
def test_every_row_has_a_name_of_its_own_and_valid_settings(name, source):
    made = EXPERIMENTS[name](source, Config())
    assert len({row.label for row in made}) == len(made) >= 3
    for row in made:
        with_changes(Config(), row.changes)
        learned = ("selection", "truth", "top-score", "oracle")
        assert row.segmenter in ("none", "end-to-end") or row.labels in learned


def test_the_steps_of_the_paper_end_in_the_preset_and_the_replacements_in_the_default():
    made = {row.label: row for row in EXPERIMENTS["components"]("simulated", Config())}
    last = with_changes(Config(), made["paper: + MPS, end to end"].changes)
    assert last == with_changes(Config(), PAPER)
    ends = with_changes(Config(), made["default: + a vote over pixels"].changes)
    assert (ends.model, ends.labelling) == (Config().model, Config().labelling)
    unasked = with_changes(Config(), made["default: + labels of two views, by expected overlap"].changes)
    assert unasked.model.picking.opinion_exponent == 0
    assert [
        made[f"default: + {name}"].changes["labelling"]["vote"]
        for name in ("a second opinion", "a vote over pixels")
    ] == [False, True]
    released = with_changes(Config(), made["released code: all steps"].changes).model
    assert released.refinement.enabled and released.box_mining.also_after_select
    regions = with_changes(Config(), made["default: + second MIL and its regions"].changes)
    assert regions.labelling == last.labelling != ends.labelling
    first = with_changes(Config(), made["single MIL"].changes).model
    assert not (first.guidance.enabled or first.refinement.enabled or first.multi_mask.enabled)


def test_a_benchmark_that_mines_boxes_has_that_step_of_its_own():
    mining = with_changes(Config(), {"model": {"box_mining": {"enabled": True}}})
    made = {row.label: row for row in EXPERIMENTS["components"]("simulated", mining)}
    step = with_changes(mining, made["default: + box mining that respects neighbours"].changes)
    before = with_changes(mining, made["default: + second MIL and its regions"].changes)
    assert step.model.box_mining.enabled and not before.model.box_mining.enabled
    assert step.model.supervision == before.model.supervision
    ends = with_changes(mining, made["default: + a vote over pixels"].changes)
    assert (ends.model, ends.labelling) == (mining.model, mining.labelling)


def test_what_does_not_teach_a_selection_does_not_part_its_trainings():
    alone = {"training": {"mode": "selection-only"}}
    base = with_changes(Config(), alone)
    same = [
        {"model": {"box_mining": {"enabled": True}}},
        {"model": {"supervision": {"vote": False}}},
        {"model": {"refinement": {"guide": False}}},
        {"model": {"multi_mask": {"enabled": False}}},
        {"proposals": {"name": "regions"}},
        {"labelling": {"overlap_temperature": 0.25}},
        {"model": {"solov2": {"weights": "none"}}},
    ]
    assert all(without_effect(with_changes(base, change)) == without_effect(base) for change in same)
    others = [
        {"model": {"box_mining": {"enabled": True, "also_after_select": True}}},
        {"model": {"guidance": {"enabled": False}}},
        {"model": {"picking": {"size_exponent": 0.0}}},
        {"model": {"solov2": {"head_channels": 32}}},
        {"seed": 1},
    ]
    assert all(without_effect(with_changes(base, change)) != without_effect(base) for change in others)
    single = with_changes(Config(), {**SINGLE_MIL, **alone})
    also = with_changes(single, {"model": {"picking": {"size_exponent": 0.5}}})
    assert without_effect(also) == without_effect(single)
    joint = with_changes(Config(), {"model": {"multi_mask": {"enabled": False}}})
    assert without_effect(joint) != without_effect(Config())


def test_segmenters_on_fixed_labels_do_not_depend_on_the_selection():
    assert as_segmenter(with_changes(Config(), PAPER), 8) == as_segmenter(Config(), 8)
    assert as_segmenter(Config(), 8).training.mode == "top-score"


def test_experiments_are_those_of_the_command_line():
    from sapnet.cli.bench_verb import SOURCES as COMMAND_LINE_SOURCES
    from sapnet.cli.bench_verb import TABLES

    assert set(TABLES) == {*EXPERIMENTS, "bags"} - {"tiny"}
    assert COMMAND_LINE_SOURCES == SOURCES
    assert experiments.BENCH_NAME == "bench.json"
