"""The Python interface: the same files as the command line, and a well-behaved guest in other programs."""

import inspect
import json
import os
import re
import runpy
import signal
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from PIL import Image

import sapnet
from sapnet.cli.main import main
from sapnet.config import Config
from sapnet.config_loader import dump_config
from training_builders import tiny_config, train_options, write_tiny_data

ROOT = Path(__file__).resolve().parents[2]
# A network of a few steps knows nothing; low thresholds let it find something.
CONFIG = tiny_config(
    model={"inference": {"score_threshold": 0.001, "keep_threshold": 0.0, "max_instances": 5}},
    training={"epochs": 2},
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny"), empty=(3,))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(dump_config(CONFIG))
    return path


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "api"
    points = sapnet.load_points(data.points)
    return sapnet.train(points, data.images, data.store, out=out, config=CONFIG, quiet=True)


@pytest.fixture(scope="module")
def by_commands(data, config, tmp_path_factory):
    """The folder in which the command line has done the same jobs."""
    folder = tmp_path_factory.mktemp("commands")
    words = ["--points", data.points, "--images", data.images]
    settings = ["-c", config, "data.num_workers=0"]
    images = [data.images / "1.png", data.images / "2.png"]
    for given in (
        ["train", *train_options(data, folder / "run"), "-c", config],
        ["propose", *words, "--out", folder / "store", *settings],
        [
            "label",
            "--run",
            folder / "run",
            *words,
            "--proposals",
            data.store,
            "--out",
            folder / "labels.json",
        ],
        ["predict", "--model", folder / "run", *images, "--out", folder / "predictions.json"],
        ["report", folder / "run", "--out", folder / "report.html"],
    ):
        assert main([*map(str, given), "--quiet"]) == 0
    return folder


def test_training_and_labelling_give_the_bytes_of_the_command_line(data, run, by_commands, tmp_path):
    for name in ("model.safetensors", "model.json", "config.yaml", "metrics.jsonl"):
        ours, theirs = (run.path / name).read_bytes(), (by_commands / "run" / name).read_bytes()
        if name == "metrics.jsonl":
            ours, theirs = (re.sub(rb'"images_per_second": [^,}]+', b"", text) for text in (ours, theirs))
        assert ours == theirs, name
    sapnet.label(run, out=tmp_path / "labels.json", quiet=True)
    assert (tmp_path / "labels.json").read_bytes() == (by_commands / "labels.json").read_bytes()


def test_proposing_and_predicting_give_the_bytes_of_the_command_line(
    data, run, by_commands, config, tmp_path
):
    store = sapnet.propose(
        data.points,
        data.images,
        out=tmp_path / "store",
        config=config,
        overrides={"data": {"num_workers": 0}},
        quiet=True,
    )
    for name in ("manifest.json", "proposals.bin", "index.npy"):
        assert (store.path / name).read_bytes() == (by_commands / "store" / name).read_bytes()
    images = [data.images / "1.png", data.images / "2.png"]
    found = sapnet.predict(run, images, out=tmp_path / "predictions.json", quiet=True)
    assert (tmp_path / "predictions.json").read_bytes() == (by_commands / "predictions.json").read_bytes()
    assert found.figures["images"] == len(found) == 2


def test_labels_are_arrays_per_image(data, run):
    labels = sapnet.label(run, quiet=True)
    points = sapnet.load_points(data.points)
    assert labels.class_names == points.class_names == ("cat", "dog")
    assert labels.unlabelled == (3,)
    assert labels.num_masks == len(points) - 1 == sum(map(len, labels))
    assert labels.file_names == ("1.png", "2.png", "3.png", "4.png")
    document = json.loads(Path(labels).read_text())
    for image in labels:
        entries = [item for item in document["annotations"] if item["image_id"] == image.image_id]
        assert image.masks.shape == (len(entries), *image.size)
        assert image.masks.dtype == bool
        assert image.ids.tolist() == [item["id"] for item in entries]
        assert image.scores.tolist() == [item["score"] for item in entries]
        assert image.points.tolist() == [item["point"] for item in entries]
        assert image.masks.sum(axis=(1, 2)).tolist() == [item["area"] for item in entries]
        for box, item in zip(image.boxes.tolist(), entries, strict=True):
            x, y, width, height = item["bbox"]
            assert box == [x, y, x + width, y + height]


def test_an_image_is_found_by_id_and_by_name_and_a_wrong_name_gets_the_nearest(run):
    labels = sapnet.label(run, quiet=True)
    assert labels.of_image(2).file_name == labels.of_image("photos/2.png").file_name == "2.png"
    with pytest.raises(sapnet.DataError, match=r"did you mean '2\.png'"):
        labels.of_image("22.png")
    with pytest.raises(sapnet.DataError, match="no image has the id 77"):
        labels.of_image(77)


def test_results_that_nobody_gave_a_file_vanish_with_their_object(run, data):
    labels = sapnet.label(run, quiet=True)
    path = labels.path
    assert sapnet.evaluate(data.instances, labels=labels)["selected"]["mask_miou"]["all"] > 0
    del labels
    assert not path.exists()


def test_a_loaded_model_predicts_what_the_verb_predicts_from_files_and_arrays(data, run):
    model = run.model(device="cpu")
    assert model.class_names == ("cat", "dog")
    for known in sapnet.predict(run, data.images, quiet=True):
        pixels = np.array(Image.open(known.file_name).convert("RGB"))
        mirrored = np.ascontiguousarray(pixels[:, ::-1])[:, ::-1]  # not contiguous
        for image in (known.file_name, Path(known.file_name), pixels, mirrored, Image.fromarray(pixels)):
            found = model.predict(image)
            assert found.counts == known.counts
            assert found.class_names == known.class_names
            np.testing.assert_allclose(found.scores, known.scores, atol=1e-6)
            np.testing.assert_array_equal(found.boxes, known.boxes)
        assert len(known)
    assert model.predict(pixels[..., 0]).size == (64, 64)


def test_a_picture_of_sixteen_bits_is_seen_as_in_its_file(data, run, tmp_path):
    grey = np.array(Image.open(data.images / "1.png").convert("L"), dtype=np.uint16) * 200 + 300
    Image.fromarray(grey).save(tmp_path / "grey.png")
    model = run.model(device="cpu")
    with Image.open(tmp_path / "grey.png") as opened:
        found, known = model.predict(opened), model.predict(tmp_path / "grey.png")
    assert len(known)
    assert found.counts == known.counts
    np.testing.assert_array_equal(found.scores, known.scores)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), "nothing.png"],
)
def test_a_model_refuses_what_is_no_image(run, image):
    with pytest.raises(sapnet.DataError):
        run.model().predict(image)


def test_points_are_their_file_until_it_changes(data, tmp_path):
    points = sapnet.load_points(data.points).save(tmp_path / "copy.json")
    assert points.digest == sapnet.load_points(data.points).digest
    assert Path(points) == tmp_path / "copy.json"
    assert "8 clicks, 4 images, 2 classes" in repr(points)
    (tmp_path / "copy.json").write_text("{}")
    with pytest.raises(sapnet.DataError, match="has changed since it was loaded"):
        sapnet.check_points(points, data.images)


def test_points_are_sampled_and_checked(data, tmp_path):
    points = sapnet.sample_points(data.instances, out=tmp_path / "points.json", mode="center")
    assert len(points) == 8
    assert sapnet.check_points(points, data.images)["problems"] == []
    with pytest.raises(sapnet.InputError, match="mode: expected one of center"):
        sapnet.sample_points(data.instances, out=tmp_path / "points.json", mode="middle")


def test_a_store_is_read_image_by_image(data):
    proposals = sapnet.load_proposals(data.store)
    assert len(proposals) == len(list(proposals)) == 4
    assert proposals.of_image(1).masks().shape == (6, 64, 64)
    with pytest.raises(sapnet.StoreError, match="77"):
        proposals.of_image(77)
    with pytest.raises(sapnet.StoreError):
        sapnet.load_proposals(data.images)


def test_a_run_knows_its_settings_inputs_and_metrics(data, run):
    again = sapnet.load_run(run.path)
    assert again.config == run.config == CONFIG
    assert again.inputs["points"] == data.points
    assert [line["kind"] for line in again.metrics()] == ["step"] * 4
    assert again.report is None
    assert again.evaluation == {}
    with pytest.raises(sapnet.DataError, match=r"sapnet\.label\(run\)"):
        again.labels()
    with pytest.raises(sapnet.CheckpointError, match="no run folder"):
        sapnet.load_run(data.images)


def test_overrides_win_over_the_file_and_wrong_ones_are_all_named(config):
    loaded = sapnet.load_config(config, {"training.epochs": 5, "optim": {"name": "sgd"}, "seed": 3})
    assert (loaded.training.epochs, loaded.optim.name, loaded.seed) == (5, "sgd", 3)
    assert loaded.model == CONFIG.model
    assert sapnet.load_config() == Config()
    with pytest.raises(sapnet.ConfigError) as caught:
        sapnet.load_config(config, {"training.epoch": 5, "optim": {"name": "sdg"}, 7: 1, "seed": "x"})
    assert len(caught.value.problems) == 4
    assert "overrides: training.epoch: unknown key (did you mean 'training.epochs'?)" in caught.value.problems
    assert "command line" not in str(caught.value)


def test_missing_files_are_all_named_before_anything_is_written(data, tmp_path):
    with pytest.raises(sapnet.InputError) as caught:
        sapnet.train(
            data.folder / "point.json",
            data.images,
            data.folder / "shop",
            out=tmp_path / "run",
            val_images="x",
        )
    assert len(caught.value.problems) == 4
    assert "points: no such file or folder" in caught.value.problems[0]
    assert "did you mean 'points.json'" in caught.value.problems[0]
    assert caught.value.problems[-1] == "val_images needs val_instances"
    assert list(tmp_path.iterdir()) == []


def test_advice_is_given_in_words_of_python(data, run, tmp_path):
    with pytest.raises(
        sapnet.CheckpointError, match=r"give resume=True to continue it, or another out"
    ) as caught:
        sapnet.train(data.points, data.images, data.store, out=run, config=CONFIG)
    assert str(caught.value).endswith(caught.value.problems[0])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(sapnet.DataError, match="skip_bad=True leaves such images out"):
        sapnet.predict(run, tmp_path, quiet=True)
    with pytest.raises(sapnet.InputError, match="unless proposals come from import_json"):
        sapnet.propose(data.points, out=tmp_path / "store")
    with pytest.raises(sapnet.InputError, match="give either predictions or labels"):
        sapnet.evaluate(data.instances)
    with pytest.raises(sapnet.InputError, match="device: expected one of"):
        sapnet.label(run, device="gpu")


def test_a_job_gives_back_what_it_changed_in_the_process(data, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # then the job chooses the number of threads
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    PartialState(cpu=True)
    environment = dict(os.environ)
    torch.manual_seed(5)

    def state():
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        singletons = [dict(kind._shared_state) for kind in (PartialState, AcceleratorState, GradientState)]
        return torch.get_num_threads(), torch.get_rng_state().tolist(), handlers, str(singletons)

    before = state()
    given = (data.points, data.images, data.store)
    sapnet.train(*given, out=tmp_path / "run", config=CONFIG, overrides={"training.epochs": 2}, quiet=True)
    assert state() == before
    with pytest.raises(sapnet.CheckpointError):
        sapnet.train(*given, out=tmp_path / "run", config=CONFIG, quiet=True)
    assert state() == before
    assert dict(os.environ) == environment


def test_jobs_run_in_another_thread_and_quiet_ones_print_nothing(data, run, tmp_path, capfd):
    done = {}

    def work():
        done["run"] = sapnet.train(
            data.points, data.images, data.store, out=tmp_path / "run", config=CONFIG, quiet=True
        )
        done["labels"] = sapnet.label(done["run"], quiet=True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done["labels"].num_masks == 7
    assert (done["run"].path / "model.safetensors").read_bytes() == (
        run.path / "model.safetensors"
    ).read_bytes()
    assert capfd.readouterr() == ("", "")


def test_an_interrupted_training_continues_to_the_same_result(data, run, tmp_path, monkeypatch):
    from sapnet.progress import Progress

    original = Progress.advance

    def interrupt(self, amount=1, **keywords):
        original(self, amount, **keywords)
        if self.title == "train" and self.done == 2:
            signal.raise_signal(signal.SIGINT)

    given = {"out": tmp_path / "run", "config": CONFIG, "quiet": True}
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sapnet.train(data.points, data.images, data.store, **given)
    assert signal.getsignal(signal.SIGINT) is handler
    again = sapnet.train(data.points, data.images, data.store, **given, resume=True)
    assert (again.path / "model.safetensors").read_bytes() == (run.path / "model.safetensors").read_bytes()


def test_a_script_without_a_main_guard_may_propose_with_workers(data, tmp_path, run_python):
    script = tmp_path / "plain.py"
    script.write_text(
        "import sapnet\n"
        "from sapnet.proposals.generate import generate_proposals\n"
        "from sapnet.proposals.regions import RegionProposer\n"
        "print('started')\n"
        f"points = sapnet.load_points({str(data.points)!r})\n"
        f"images, out = {str(data.images)!r}, {str(tmp_path / 'store')!r}\n"
        "print(len(generate_proposals(points, images, RegionProposer(), out, workers=2)))\n"
    )
    done = run_python(script, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["started", "4"]


@pytest.mark.parametrize("name", ["clicks_to_masks", "train_and_predict"])
def test_the_examples_run(name, tmp_path, capsys):
    small = {"train_short_sides": [64], "test_short_side": 64, "max_long_side": 96}
    (tmp_path / "tiny.yaml").write_text(dump_config(tiny_config(data=small)))
    example = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))
    example["main"](tmp_path / "out", tmp_path / "tiny.yaml")
    assert {"clicks_to_masks": "mask mIoU 0.", "train_and_predict": "report: "}[
        name
    ] in capsys.readouterr().out


def stand_in(monkeypatch, name, **members):
    """Put a small module in the place of a library."""
    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**members))


def test_masks_become_supervision_detections(run, monkeypatch):
    stand_in(monkeypatch, "supervision", Detections=types.SimpleNamespace)
    labels = sapnet.label(run, quiet=True)
    image = labels.of_image("1.png")
    found = labels.to_supervision("1.png")
    np.testing.assert_array_equal(found.xyxy, image.boxes)
    np.testing.assert_array_equal(found.mask, image.masks)
    np.testing.assert_allclose(found.confidence, image.scores, atol=1e-6)
    assert found.class_id.tolist() == image.labels.tolist()
    assert found.data["class_name"].tolist() == list(image.class_names)
    assert found.data["annotation_id"].tolist() == image.ids.tolist()
    assert (found.xyxy.dtype, found.mask.dtype, found.class_id.dtype) == (np.float32, bool, np.int64)


def test_an_image_without_masks_becomes_empty_detections(monkeypatch, tmp_path):
    stand_in(monkeypatch, "supervision", Detections=types.SimpleNamespace)
    document = {"images": [{"id": 1, "file_name": "a.png", "width": 5, "height": 4}], "annotations": []}
    (tmp_path / "empty.json").write_text(json.dumps(document | {"categories": []}))
    found = sapnet.load_labels(tmp_path / "empty.json").to_supervision(1)
    assert found.xyxy.shape == (0, 4)
    assert found.mask.shape == (0, 4, 5)


class Sample(dict):
    def __init__(self, filepath):
        super().__init__()
        self.filepath = filepath


class FiftyOneDataset(list):
    def iter_samples(self, *, autosave):
        assert autosave
        return iter(self)

    add_samples = list.extend


def test_masks_join_a_fiftyone_data_set(run, data, monkeypatch):
    kind = types.SimpleNamespace
    stand_in(monkeypatch, "fiftyone", Sample=Sample, Detection=kind, Detections=kind)
    labels = sapnet.label(run, quiet=True)
    dataset = FiftyOneDataset([Sample(str(data.images / "2.png")), Sample("elsewhere.png")])
    assert labels.to_fiftyone(dataset, images=data.images, field="picked") == 3
    assert len(dataset) == 5
    assert "picked" not in dataset[1]
    image, found = labels.of_image("2.png"), dataset[0]["picked"].detections
    for row, item in enumerate(found):
        left, top, right, bottom = image.boxes[row].astype(int)
        assert item.label == image.class_names[row]
        assert item.confidence == image.scores[row]
        assert item.bounding_box == [left / 64, top / 64, (right - left) / 64, (bottom - top) / 64]
        whole = np.zeros(image.size, bool)
        whole[top:bottom, left:right] = item.mask
        np.testing.assert_array_equal(whole, image.masks[row])


def test_a_missing_library_is_named_with_its_command(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    labels = sapnet.label(run, quiet=True)
    with pytest.raises(sapnet.MissingPackageError, match="pip install supervision"):
        labels.to_supervision(1)
    with pytest.raises(sapnet.MissingPackageError, match="pip install fiftyone"):
        labels.to_fiftyone([], images=".")


@pytest.mark.parametrize("to", ["coco", "labelme", "voc", "cvat"])
def test_labels_are_saved_with_the_bytes_of_convert(by_commands, to, tmp_path):
    source = by_commands / "labels.json"
    assert main(["convert", str(source), "--to", to, "--out", str(tmp_path / "theirs"), "--quiet"]) == 0
    figures = sapnet.load_labels(source).save(tmp_path / "ours", to)
    assert (figures["format"], figures["objects"]) == (to, 7)
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")


def contents(path):
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_coco_is_written_exactly_and_wrong_formats_are_refused(run, tmp_path):
    labels = sapnet.label(run, quiet=True)
    labels.to_coco(tmp_path / "coco.json")
    again = sapnet.load_labels(tmp_path / "coco.json")
    assert [item.counts for item in again] == [item.counts for item in labels]
    with pytest.raises(sapnet.InputError, match="did you mean 'labelme'"):
        labels.save(tmp_path / "x", "labelm")
    with pytest.raises(sapnet.InputError, match="parts: expected one of largest, bridge, split, got 'bride'"):
        labels.save(tmp_path / "x", "yolo", parts="bride")


def test_points_are_imported_from_a_table(data, tmp_path):
    (tmp_path / "clicks.csv").write_text("image,x,y,label\n1.png,50,25,cat\n2.png,10,10,dog\n")
    given = {"out": tmp_path / "points.json", "source_format": "csv"}
    points = sapnet.import_points(tmp_path / "clicks.csv", data.images, unit="percent", **given)
    assert points.xy.tolist() == [[32, 16], [6.4, 6.4]]
    assert points.figures["points"] == 2
    with pytest.raises(
        sapnet.InputError, match="unit: expected one of pixel, percent, fraction, got 'pixels'"
    ):
        sapnet.import_points(tmp_path / "clicks.csv", data.images, unit="pixels", **given)


def test_parts_of_a_data_set_are_taken_and_voc_is_looked_for(data, tmp_path):
    figures = sapnet.convert_subset(data.instances, out=tmp_path / "part.json", classes=["cat"], num_images=2)
    assert figures["images"] == len(sapnet.load_instances(tmp_path / "part.json").images) == 2
    with pytest.raises(sapnet.InputError, match="root: no such file or folder"):
        sapnet.convert_voc(tmp_path / "VOC2012", split="val", out=tmp_path / "val.json")


def test_every_public_name_is_documented_in_the_code_and_in_the_guide():
    guide = (ROOT / "docs" / "python_api.md").read_text(encoding="utf-8")
    for name in sapnet.__all__:
        assert re.search(rf"`(sapnet\.)?{name}\b", guide), name
        if name != "__version__":
            assert inspect.getdoc(getattr(sapnet, name)), name
        for member, value in vars(getattr(sapnet, name)).items() if name[0].isupper() else ():
            is_own = getattr(sapnet, name).__module__.startswith("sapnet.api")
            if is_own and not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert re.search(rf"`{name}\.{member}\b", guide), f"{name}.{member}"


def test_importing_the_package_is_quick_and_loads_no_torch(run_python):
    code = "import sys, sapnet; assert sapnet.load_points; print({'torch', 'accelerate'} & set(sys.modules))"
    assert run_python("-c", code).stdout == "set()\n"
    code = (
        "import sys, sapnet; print(len([n for n in sys.modules if n.split('.')[0] in ('numpy', 'pydantic')]))"
    )
    assert run_python("-c", code).stdout == "0\n"


def test_unknown_names_are_refused_and_known_ones_are_listed():
    assert set(sapnet.__all__) <= set(dir(sapnet))
    assert all(hasattr(sapnet, name) for name in sapnet.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lable'"):
        _ = sapnet.lable
    assert sys.modules["sapnet"].load_points is sapnet.load_points
