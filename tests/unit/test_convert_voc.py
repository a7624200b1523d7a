"""VOC 2012 and SBD folders, in the layout of their archives, as COCO instances."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from scipy.io import savemat

from sapnet.cli.main import main
from sapnet.convert.voc import VOC_CLASSES, voc_document
from sapnet.data.instances import load_instances
from sapnet.data.rle import segmentation_to_counts
from sapnet.errors import DataError
from sapnet.exporters.losses import Losses
from sapnet.exporters.voc import voc_files, voc_palette
from sapnet.labels.label_set import labels_from_json

SIZE = (6, 8)


def object_picture(number):
    """A background, a void rim and ``number`` objects of four pixels each, one with a hole of void."""
    values = np.zeros(SIZE, dtype=np.uint8)
    for place in range(number):
        values[1 + 2 * place : 3 + 2 * place, 1:3] = place + 1
    values[1, 3] = 255
    return values


def class_picture(objects, classes):
    return np.array([0, *classes, *[0] * (255 - len(classes) - 1), 255], dtype=np.uint8)[objects]


def save_indices(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values, "L")
    picture.putpalette(voc_palette().tobytes())
    picture.save(path)


def save_sbd(folder, name, objects, classes):
    for kind, key, content in (
        (
            "inst",
            "GTinst",
            {"Segmentation": objects, "Categories": np.array(classes, dtype=float).reshape(-1, 1)},
        ),
        ("cls", "GTcls", {"Segmentation": class_picture(objects, classes)}),
    ):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        savemat(folder / kind / f"{name}.mat", {key: content})


@pytest.fixture
def folders(tmp_path):
    """VOC: two train images, one val. SBD: one of each of these, and two of its own."""
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    lists = {"train": ["2007_000032", "2008_000008"], "val": ["2007_000033"]}
    for name, classes in (("2007_000032", [1, 15]), ("2008_000008", [13]), ("2007_000033", [20, 9])):
        objects = object_picture(len(classes))
        save_indices(voc / "SegmentationObject" / f"{name}.png", objects)
        save_indices(voc / "SegmentationClass" / f"{name}.png", class_picture(objects, classes))
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    for split, names in {**lists, "trainval": lists["train"] + lists["val"]}.items():
        (voc / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n")
    sbd = tmp_path / "benchmark_RELEASE" / "dataset"
    whole = np.ones(SIZE, dtype=np.uint8)
    save_sbd(sbd, "2007_000032", whole, [3])  # in VOC's train list: VOC's masks are taken
    save_sbd(sbd, "2007_000033", whole, [3])  # in VOC's val list: not for training
    two = np.zeros(SIZE, dtype=np.uint8)
    two[0, :4], two[3:, 5:] = 1, 2
    save_sbd(sbd, "2008_000002", two, [7, 2])
    save_sbd(sbd, "2011_000003", whole, [19])
    (sbd / "train.txt").write_text("2007_000032\n2008_000002\n")
    (sbd / "val.txt").write_text("2007_000033\n2011_000003\n")
    return voc, sbd


def test_the_paper_split_unites_both_without_val_and_prefers_voc(folders):
    voc, sbd = folders
    document = voc_document(voc, "train_aug", sbd=sbd, quiet=True)
    names = [image["file_name"] for image in document["images"]]
    assert names == ["2007_000032.jpg", "2008_000002.jpg", "2008_000008.jpg", "2011_000003.jpg"]
    found = [(entry["image_id"], entry["category_id"], entry["area"]) for entry in document["annotations"]]
    assert found == [
        (2007000032, 1, 4),
        (2007000032, 15, 4),
        (2008000002, 7, 4),
        (2008000002, 2, 9),
        (2008000008, 13, 4),
        (2011000003, 19, 48),
    ]


def test_ids_are_those_of_the_names_in_every_split(folders):
    voc, sbd = folders
    entries = {}
    for split in ("train", "trainval", "train_aug"):
        for entry in voc_document(voc, split, sbd=sbd, quiet=True)["annotations"]:
            if entry["image_id"] == 2007000032:
                entries.setdefault(split, []).append(entry)
    assert entries["train"] == entries["trainval"] == entries["train_aug"]
    assert [entry["id"] for entry in entries["train"]] == [2007000032001, 2007000032002]


def test_val_is_vocs_list_and_void_is_in_no_object(folders):
    voc, _ = folders
    document = voc_document(voc, "val", quiet=True)
    (image,) = document["images"]
    assert (image["width"], image["height"]) == (8, 6)
    labels = labels_from_json(document, "val")
    np.testing.assert_array_equal(labels.mask_of(0), object_picture(2) == 1)
    assert image["void"]["size"] == [6, 8]
    assert segmentation_to_counts(image["void"], SIZE)
    assert [item["name"] for item in document["categories"]] == list(VOC_CLASSES)


def test_voc_pictures_come_out_as_they_went_in(folders):
    voc, _ = folders
    labels = labels_from_json(voc_document(voc, "trainval", quiet=True), "trainval")
    lost = Losses()
    files = {str(path): data for path, data in voc_files(labels, lost)}
    assert not lost
    for name in ("2007_000032", "2007_000033", "2008_000008"):
        for kind in ("SegmentationObject", "SegmentationClass"):
            path = voc / kind / f"{name}.png"
            target = voc / "again.png"
            target.write_bytes(files[f"{kind}/{name}.png"])
            with Image.open(path) as before, Image.open(target) as after:
                np.testing.assert_array_equal(np.array(before), np.array(after))
                assert before.getpalette() == after.getpalette()


def test_the_verb_writes_what_pycocotools_and_this_package_read(folders, tmp_path, capsys):
    voc, sbd = folders
    out = tmp_path / "instances.json"
    # The folders around the data sets do as well.
    status = main(["convert", "voc", "--root", str(voc.parent), "--sbd", str(sbd.parent), "--split", "train_aug",
                   "--out", str(out), "--json", "--quiet"])  # fmt: skip
    assert status == 0
    printed = capsys.readouterr().out
    figures = json.loads(printed[printed.index("{") :])
    assert figures["images"] == 4
    assert figures["objects"] == 6
    assert figures["paper_images"] == 10582
    assert "not the whole data set" in figures["note"]
    coco = COCO(out)
    assert coco.annToMask(coco.loadAnns(2008000002002)[0]).sum() == 9
    assert len(load_instances(out)) == 6


def test_the_class_picture_decides_where_sbd_lists_no_classes(folders):
    voc, sbd = folders
    whole = np.ones(SIZE, dtype=np.uint8)
    savemat(sbd / "inst" / "2011_000003.mat", {"GTinst": {"Segmentation": whole}})
    document = voc_document(voc, "train_aug", sbd=sbd, quiet=True)
    assert document["annotations"][-1]["category_id"] == 19


def test_names_of_another_form_are_numbered(tmp_path, folders):
    voc, _ = folders
    for kind in ("SegmentationObject", "SegmentationClass"):
        (voc / kind / "2007_000033.png").rename(voc / kind / "mine.png")
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("mine\n")
    document = voc_document(voc, "val", quiet=True)
    assert [image["id"] for image in document["images"]] == [1]
    assert [entry["id"] for entry in document["annotations"]] == [1001, 1002]


def test_all_defects_are_listed_and_nothing_is_written(folders, tmp_path, capsys):
    voc, sbd = folders
    (voc / "SegmentationObject" / "2007_000032.png").unlink()
    Image.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(voc / "SegmentationClass" / "2008_000008.png")
    (sbd / "inst" / "2008_000002.mat").write_bytes(b"MATLAB 5.0 but no more")
    savemat(
        sbd / "inst" / "2011_000003.mat", {"GTinst": {"Segmentation": np.full(SIZE, 2), "Categories": [3.0]}}
    )
    out = tmp_path / "out.json"
    arguments = ["--root", str(voc), "--sbd", str(sbd), "--split", "train_aug", "--out", str(out), "--quiet"]
    assert main(["convert", "voc", *arguments]) == 2
    message = capsys.readouterr().err
    assert "4 problems" in message
    for name in ("2007_000032.png: there is no", "palette", "2008_000002.mat: cannot be read", "do not fit"):
        assert name in message
    assert not out.exists()


def test_an_object_without_class_and_pictures_of_other_sizes_are_refused(folders):
    voc, _ = folders
    save_indices(voc / "SegmentationClass" / "2007_000032.png", np.zeros(SIZE, dtype=np.uint8))
    save_indices(voc / "SegmentationClass" / "2008_000008.png", np.zeros((3, 3), dtype=np.uint8))
    with pytest.raises(DataError) as caught:
        voc_document(voc, "train", quiet=True)
    assert "object 1 has no class" in str(caught.value)
    assert "differ in size" in str(caught.value)


def test_the_paper_split_needs_sbd_and_folders_are_looked_for(folders, tmp_path):
    voc, _ = folders
    with pytest.raises(DataError, match="--sbd"):
        voc_document(voc, "train_aug", quiet=True)
    with pytest.raises(DataError, match="no SegmentationObject"):
        voc_document(tmp_path / "elsewhere", "train", quiet=True)
