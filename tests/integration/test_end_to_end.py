"""The whole job from outside, and what is refused with one clear message."""

import json
import shutil

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sapnet import pipeline
from sapnet.cli.main import main
from sapnet.config_loader import dump_config
from sapnet.data.annotations import load_points
from sapnet.data.rle import decode_masks
from sapnet.data.scenes import write_scenes
from sapnet.proposals.store import ProposalStore
from training_builders import tiny_config, train_arguments, train_options, write_tiny_data

CONFIG = tiny_config(
    data={"train_short_sides": [64], "test_short_side": 64, "max_long_side": 96},
    training={"epochs": 2, "evaluate_epochs": 1},
    model={"inference": {"score_threshold": 0.001, "keep_threshold": 0.0, "max_instances": 5}},
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, num_train=4, num_val=2)
    (folder / "config.yaml").write_text(dump_config(CONFIG))
    return folder


@pytest.fixture(scope="module")
def done(scenes, tmp_path_factory, run_sapnet):
    """A folder with everything that ``sapnet run`` writes, called with relative paths."""
    folder = tmp_path_factory.mktemp("run")
    found = run_sapnet(
        *["run", "-c", "config.yaml", "--points", "points_train.json", "--images", "images"],
        *["--instances", "instances_train.json", "--val-instances", "instances_val.json"],
        *["--out", folder / "run", "--json"],
        cwd=scenes,
    )
    assert found.returncode == 0, found.stderr
    return folder / "run", json.loads(found.stdout)


def words(*given):
    return [str(word) for word in given]


def test_run_writes_everything_and_reports_figures(done):
    run, figures = done
    names = {path.name for path in run.iterdir()}
    assert {
        "config.yaml", "model.safetensors", "model.json", "metrics.jsonl", "environment.json",
        "proposals", "labels.json", "predictions.json", "evaluation.json", "report.html",
    } <= names  # fmt: skip
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert 0 <= evaluation["labels"]["selected"]["mask_miou"]["all"] <= 1
    assert evaluation["validation"]["AP"] is not None
    assert figures["headline"]["AP"] == evaluation["validation"]["AP"]
    environment = json.loads((run / "environment.json").read_text())
    assert all(path.startswith("/") for path in environment["inputs"].values())


def test_labels_are_coco_and_their_masks_come_from_the_store(scenes, done):
    run, _ = done
    coco = COCO(str(run / "labels.json"))
    points = load_points(scenes / "points_train.json")
    assert sorted(coco.getAnnIds()) == sorted(points.annotation_ids.tolist())
    store = ProposalStore.open(run / "proposals", points)
    for item in coco.loadAnns(coco.getAnnIds()):
        bag = store.of_image(item["image_id"])
        own = np.flatnonzero(bag.annotation_ids[bag.prompt_index] == item["id"])[item["proposal"]]
        assert item["voted"] == (item["segmentation"]["counts"] != bag.counts[own].decode())
        every = [bag.counts[row] for row in range(bag.num_proposals)[bag.of_prompt(bag.prompt_index[own])]]
        label, *masks = decode_masks([item["segmentation"]["counts"].encode(), *every], bag.image_size)
        assert not (label & ~np.any(masks, axis=0)).any()
        assert not (~label & np.all(masks, axis=0)).any()
        assert item["area"] == coco_mask.area(item["segmentation"])
        assert item["bbox"] == coco_mask.toBbox(item["segmentation"]).tolist()
        assert item["iscrowd"] == 0
        assert 0 <= item["score"] <= 1


def test_the_verbs_one_by_one_give_what_run_gives(scenes, done, tmp_path):
    run, _ = done
    paths = words("--points", scenes / "points_train.json", "--images", scenes / "images")
    settings = words("-c", scenes / "config.yaml", "--quiet")
    store, out = tmp_path / "store", tmp_path / "run"
    validation = words("--val-instances", scenes / "instances_val.json")
    assert main(["propose", *paths, *settings, *words("--out", store)]) == 0
    assert main(["train", *paths, *settings, *validation, *words("--proposals", store, "--out", out)]) == 0
    assert (out / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    labels = tmp_path / "labels.json"
    given = words("--run", out, "--proposals", run / "proposals", "--out", labels, "--quiet")
    assert main(["label", *paths, *given]) == 0
    assert labels.read_bytes() == (run / "labels.json").read_bytes()
    assert main(["report", *words(run, "--out", tmp_path / "report.html")]) == 0


def test_a_finished_run_resumes_to_the_same_files(scenes, done, capsys):
    run, _ = done
    names = ("model.safetensors", "labels.json", "evaluation.json", "predictions.json", "metrics.jsonl")
    before = [(run / name).read_bytes() for name in names]
    given = words(
        *("--points", scenes / "points_train.json", "--images", scenes / "images", "--out", run),
        *("--instances", scenes / "instances_train.json"),
        *("--val-instances", scenes / "instances_val.json", "-c", scenes / "config.yaml", "--quiet"),
    )
    assert main(["run", *given]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["run", *given, "--resume"]) == 0
    assert [(run / name).read_bytes() for name in names] == before


def test_a_model_works_from_its_two_files_alone(scenes, done, tmp_path):
    run, _ = done
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("model.safetensors", "model.json"):
        shutil.copy(run / name, alone)
    images = sorted((scenes / "images").glob("val_*"))
    files = [tmp_path / "folder.json", tmp_path / "file.json"]
    for model, out in zip((run, alone / "model.safetensors"), files, strict=True):
        given = words("--model", model, "--out", out, "--quiet", *images)
        assert main(["predict", *given, "--draw", str(tmp_path / "drawn")]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    content = json.loads(files[0].read_text())
    assert len(content["images"]) == 2
    assert len(list((tmp_path / "drawn").iterdir())) == 2


@pytest.mark.parametrize("protocol", ["coco", "voc"])
def test_predictions_are_evaluated_by_both_protocols(scenes, done, protocol, capsys):
    run, _ = done
    given = words("--predictions", run / "predictions.json", "--instances", scenes / "instances_val.json")
    assert main(["evaluate", *given, "--protocol", protocol, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_labels_are_evaluated_with_their_store(scenes, done, capsys):
    run, _ = done
    given = words("--labels", run / "labels.json", "--instances", scenes / "instances_train.json")
    assert main(["evaluate", *given, "--proposals", str(run / "proposals"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["top_score"]["mask_miou"]["all"] <= found["oracle"]["mask_miou"]["all"]
    assert found["selected"]["mask_miou"]["all"] > 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tiny_run(tiny, tmp_path_factory):
    run = tmp_path_factory.mktemp("trained") / "run"
    pipeline.train(**train_arguments(tiny, run), config=tiny_config(), quiet=True)
    return run


@pytest.fixture
def refused(capsys, tmp_path):
    """Call the command line; return its message after checking that it was exit code 2 without traceback."""

    def call(*given, expect_nothing_at=None):
        assert main([*words(*given), "--quiet"]) == 2
        message = capsys.readouterr().err
        assert "Traceback" not in message
        if expect_nothing_at is not None:
            assert not expect_nothing_at.exists()
        return message

    return call


def settings_file(folder, config=None):
    path = folder / "config.yaml"
    path.write_text(dump_config(config or tiny_config()))
    return path


def label_words(data, run, out):
    return ["label", "--run", run, *train_options(data, out)]


@pytest.mark.parametrize("proposer", ["simulated", "ground-truth"])
def test_proposals_from_ground_truth_are_refused(tiny_run, refused, tmp_path, proposer):
    data = write_tiny_data(tmp_path / "tiny", proposer=proposer)
    out = tmp_path / "out"
    settings = ["-c", settings_file(tmp_path)]
    reason = f"holds {proposer} proposals"
    assert reason in refused("train", *train_options(data, out), *settings, expect_nothing_at=out)
    assert reason in refused(*label_words(data, tiny_run, out), expect_nothing_at=out)


def test_proposals_of_other_clicks_are_refused(tiny, refused, tmp_path):
    other = write_tiny_data(tmp_path / "other", seed=5)
    other.store = tiny.store
    out = tmp_path / "out"
    message = refused("train", *train_options(other, out), expect_nothing_at=out)
    assert "other points" in message


def test_a_folder_without_a_run_is_refused_by_every_verb_that_needs_one(tiny, refused, tmp_path):
    out = tmp_path / "out.json"
    assert "model.safetensors" in refused(*label_words(tiny, tiny.folder, out), expect_nothing_at=out)
    given = ["predict", "--model", tiny.folder, tiny.images, "--out", out]
    assert "model.json" in refused(*given, expect_nothing_at=out)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.safetensors", b"\x00" * 100, "safetensors"),
        ("model.safetensors", None, "safetensors"),
        ("model.json", b"{", "model card"),
        ("model.json", b'{"format": 1}', "model card"),
    ],
    ids=["rubbish weights", "cut weights", "cut card", "empty card"],
)
def test_damaged_model_files_are_refused(tiny, tiny_run, refused, tmp_path, name, content, said):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    path = run / name
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    out = tmp_path / "out.json"
    for given in (["predict", "--model", run, tiny.images, "--out", out], label_words(tiny, run, out)):
        assert said in refused(*given, expect_nothing_at=out)


def test_a_selection_without_segmenter_cannot_predict(tiny, refused, tmp_path):
    config = tiny_config(training={"mode": "selection-only", "epochs": 1})
    run, out = tmp_path / "run", tmp_path / "out.json"
    pipeline.train(**train_arguments(tiny, run), config=config, quiet=True)
    assert "selection-only" in refused("predict", "--model", run, tiny.images, "--out", out)


def test_a_copied_two_stage_segmenter_cannot_label(tiny, refused, tmp_path):
    run, alone = tmp_path / "run", tmp_path / "alone"
    config = tiny_config(training={"mode": "two-stage", "epochs": 1})
    pipeline.train(**train_arguments(tiny, run), config=config, quiet=True)
    shutil.copytree(run, alone, ignore=lambda *_: ["selection"])
    assert "two-stage" in refused(*label_words(tiny, alone, tmp_path / "labels.json"))


def test_points_with_other_classes_are_refused_by_label(tiny_run, refused, tmp_path):
    other = write_tiny_data(tmp_path / "other", categories=((3, "cat"), (8, "horse")))
    message = refused(*label_words(other, tiny_run, tmp_path / "labels.json"))
    assert "'horse' (id 8)" in message
    assert "'dog' (id 7)" in message


def test_validation_with_other_classes_is_refused_before_training(tiny, refused, tmp_path):
    other = write_tiny_data(tmp_path / "other", categories=((3, "cat"), (7, "horse")))
    (other.images / "2.png").unlink()
    given = ["--val-instances", other.instances, "--val-images", other.images]
    out = tmp_path / "run"
    message = refused("train", *train_options(tiny, out), *given, expect_nothing_at=out)
    assert "'dog'" in message
    assert "2.png" in message


def test_ground_truth_of_other_clicks_is_refused_before_anything_is_computed(refused, tmp_path):
    data = write_tiny_data(tmp_path / "tiny")
    content = json.loads(data.instances.read_text())
    content["annotations"][0]["id"] = 99
    content["annotations"][7]["image_id"] = 1
    content["images"][1]["width"] = 65
    for item in content["annotations"][2:4]:  # of the image whose size differs
        item["segmentation"] = [[0, 0, 20, 0, 20, 20]]
    data.instances.write_text(json.dumps(content))
    out = tmp_path / "run"
    given = ["--points", data.points, "--images", data.images, "--instances", data.instances, "--out", out]
    message = refused("run", *given, "-c", settings_file(tmp_path), expect_nothing_at=out)
    assert "1 of 8 clicks have no instance with their id: 1" in message
    assert "the object with the id of click 8 is in image 1, not 4" in message
    assert "image 2 is 65 x 64, but 64 x 64 in the points file" in message


def test_bad_images_are_all_listed_and_nothing_is_written(refused, tmp_path):
    data = write_tiny_data(tmp_path / "tiny")
    (data.images / "2.png").write_bytes(b"no image")
    (data.images / "4.png").unlink()
    out = tmp_path / "run"
    message = refused(
        "train", *train_options(data, out), "-c", settings_file(tmp_path), expect_nothing_at=out
    )
    assert "2.png" in message
    assert "4.png" in message
    message = refused("run", "--points", data.points, "--images", data.images, "--out", out)
    assert "4.png" in message
    assert not out.exists()


def test_skip_bad_trains_labels_and_predicts_without_bad_images(tmp_path, capsys):
    data = write_tiny_data(tmp_path / "tiny")
    broken = data.images / "2.png"
    broken.write_bytes(broken.read_bytes()[:60])  # its header is whole
    out = tmp_path / "run"
    given = [*words(*train_options(data, out), "-c", settings_file(tmp_path)), "--skip-bad", "--json"]
    assert main(["train", *given]) == 0
    written = capsys.readouterr()
    assert json.loads(written.out)["skipped"] == 1
    assert written.err.count("left out") == 1
    labels = tmp_path / "labels.json"
    assert main([*words(*label_words(data, out, labels)), "--skip-bad", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unlabelled"] == 2
    predictions = words("predict", "--model", out, data.images, "--out", tmp_path / "p.json")
    assert main([*predictions, "--skip-bad", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 1


def test_a_cut_image_stops_prediction_without_leaving_pictures(tiny_run, refused, tmp_path):
    data = write_tiny_data(tmp_path / "tiny")
    broken = data.images / "4.png"
    broken.write_bytes(broken.read_bytes()[:60])
    out, drawn = tmp_path / "p.json", tmp_path / "drawn"
    given = ["predict", "--model", tiny_run, data.images, "--out", out, "--draw", drawn]
    assert "4.png" in refused(*given, expect_nothing_at=out)
    assert not drawn.exists()


def test_a_loss_that_is_not_finite_names_itself_and_the_images(tiny, tmp_path, capsys, monkeypatch):
    import torch

    from sapnet.engine import step

    def broken(sums, counts):
        means = step.build_total_loss(tiny_config().model)(sums, counts)
        bad = torch.full((), float("nan"))
        return type(means)(**{**vars(means), "refinement": bad, "total": means.total + bad})

    real = step.StepRunner.__init__

    def with_broken_loss(self, *arguments, **settings):
        real(self, *arguments, **settings)
        self.total_loss = broken

    monkeypatch.setattr(step.StepRunner, "__init__", with_broken_loss)
    out = tmp_path / "run"
    given = words("train", *train_options(tiny, out), "-c", settings_file(tmp_path), "--quiet")
    assert main(given) == 1
    message = capsys.readouterr().err
    assert "refinement" in message
    assert ".png (id " in message
    assert "Traceback" not in message


def test_a_device_that_is_not_there_is_refused(tiny, refused, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    out = tmp_path / "run"
    given = ["train", *train_options(tiny, out), "-c", settings_file(tmp_path), "--device", "cuda"]
    assert "'cuda' is not available" in refused(*given, expect_nothing_at=out)


def test_fp16_on_the_cpu_is_refused(tiny, refused, tmp_path):
    out = tmp_path / "run"
    given = ["train", *train_options(tiny, out), "-c", settings_file(tmp_path), "training.precision=fp16"]
    assert "needs a GPU" in refused(*given, expect_nothing_at=out)
