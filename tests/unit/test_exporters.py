"""What exporters write, refuse and count."""

import json
from pathlib import PurePosixPath

import numpy as np
import pytest
from pycocotools.coco import COCO

from export_builders import label_document, label_set, square
from oracles import exported_files as oracle
from sapnet.cli.main import main
from sapnet.errors import DataError, InputError, JobError
from sapnet.exporters import folders
from sapnet.exporters.export import FOLDER_FORMATS, FORMATS, ExportOptions, export_labels
from sapnet.exporters.folders import MARKER, write_folder
from sapnet.exporters.label_studio import label_studio_tasks
from sapnet.exporters.labelme import labelme_files
from sapnet.exporters.losses import Losses
from sapnet.exporters.names import relative_names
from sapnet.exporters.voc import voc_files
from sapnet.exporters.yolo import yolo_files
from sapnet.labels.label_set import load_labels

SIZE = (12, 16)
TWO_PARTS = square(SIZE, 1, 1, 8, 8) & ~square(SIZE, 3, 3, 5, 5) | square(SIZE, 9, 12, 11, 14)


def two_images(**more):
    first = (SIZE, [(7, TWO_PARTS, {"score": 0.75, "point": [2.5, 1.5], "proposal": 3}),
                    (0, square(SIZE, 0, 9, 4, 16), {"score": 0.25})])  # fmt: skip
    return label_set([first, ((5, 5), [])], names=["sub/a b.jpg", "c.png"], **more)


def written(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_coco_keeps_scores_clicks_and_sources_and_pycocotools_reads_it(tmp_path):
    export_labels(two_images(info={"description": "x"}), tmp_path / "labels.json", "coco")
    coco = COCO(tmp_path / "labels.json")
    entry = coco.anns[1]
    np.testing.assert_array_equal(coco.annToMask(entry), TWO_PARTS)
    assert entry["area"] == TWO_PARTS.sum()
    assert entry["bbox"] == [1, 1, 13, 10]
    assert (entry["iscrowd"], entry["score"], entry["point"], entry["proposal"]) == (0, 0.75, [2.5, 1.5], 3)
    labels = load_labels(tmp_path / "labels.json")
    assert labels.source_of_row(0) == {"proposal": 3}
    assert labels.source_of_row(1) == {}


def test_coco_polygons_hold_one_ring_per_part_and_the_same_pixels(tmp_path):
    export_labels(two_images(), tmp_path / "labels.json", "coco", ExportOptions(shapes="polygon"))
    coco = COCO(tmp_path / "labels.json")
    assert len(coco.anns[1]["segmentation"]) == 2
    np.testing.assert_array_equal(coco.annToMask(coco.anns[1]), TWO_PARTS)


def test_crowd_regions_stay_crowd_in_coco_and_are_void_in_voc_and_left_out_elsewhere():
    labels = label_set([(SIZE, [(0, square(SIZE, 0, 0, 4, 4), {"iscrowd": 1})])])
    lost = Losses()
    ((_, data),) = labelme_files(labels, lost)
    assert json.loads(data)["shapes"] == []
    assert lost == {"crowd_regions_left_out": 1}
    lost = Losses()
    files = {str(path): data for path, data in voc_files(labels, lost)}
    assert oracle.read_indices(files["SegmentationClass/0.png"])[:4, :4].tolist() == [[255] * 4] * 4
    assert not lost


def test_yolo_says_what_each_policy_does_to_parts_and_holes():
    counted = {}
    for parts in ("largest", "bridge", "split"):
        lost = Losses()
        files = {str(path): data.decode() for path, data in yolo_files(two_images(), lost, parts=parts)}
        counted[parts] = (dict(lost), len(files["labels/train/sub/a b.txt"].splitlines()))
        assert files["labels/train/c.txt"] == ""
    assert counted["largest"] == ({"parts_dropped": 1, "pixels_dropped": 4, "holes_filled": 1}, 2)
    assert counted["bridge"] == ({}, 2)
    assert counted["split"] == ({"objects_split": 1, "rows_added_by_splitting": 1, "holes_filled": 1}, 3)


def test_yolo_puts_images_beside_labels(tmp_path):
    images = tmp_path / "photos"
    (images / "sub").mkdir(parents=True)
    (images / "sub" / "a b.jpg").write_bytes(b"picture")
    with pytest.raises(DataError, match=r"c\.png: there is no such image"):
        export_labels(two_images(), tmp_path / "out", "yolo", images_dir=images)
    assert not (tmp_path / "out").exists()
    (images / "c.png").write_bytes(b"other")
    export_labels(two_images(), tmp_path / "out", "yolo", images_dir=images)
    assert written(tmp_path / "out") == {
        "data.yaml", MARKER, "images/train/sub/a b.jpg", "images/train/c.png",
        "labels/train/sub/a b.txt", "labels/train/c.txt",
    }  # fmt: skip
    assert (tmp_path / "out" / "images" / "train" / "sub" / "a b.jpg").read_bytes() == b"picture"


def test_class_names_of_any_kind_are_valid_yaml():
    from ruamel.yaml import YAML

    document = label_document([])
    document["categories"] = [{"id": 3, "name": 'a: "b" # c'}, {"id": 1, "name": "no"}]
    from sapnet.labels.label_set import labels_from_json

    ((_, text),) = yolo_files(labels_from_json(document, "x"), Losses())
    assert YAML(typ="safe").load(text.decode())["names"] == {0: 'a: "b" # c', 1: "no"}


def test_labelme_files_point_at_their_image(tmp_path):
    labels = two_images()
    export_labels(labels, tmp_path / "out", "labelme", images_dir=tmp_path / "photos")
    first = json.loads((tmp_path / "out" / "sub" / "a b.json").read_text())
    assert first["imagePath"] == "../../photos/sub/a b.jpg"
    assert first["shapes"][0]["score"] == 0.75
    assert json.loads((tmp_path / "out" / "c.json").read_text())["imagePath"] == "../photos/c.png"


def test_voc_rims_are_void_on_both_sides_of_an_outline():
    labels = label_set([(SIZE, [(0, square(SIZE, 4, 4, 9, 9), {})])])
    files = {str(path): data for path, data in voc_files(labels, Losses(), void_rim=1)}
    row = oracle.read_indices(files["SegmentationObject/0.png"])[6].tolist()
    assert row == [0, 0, 0, 255, 255, 1, 1, 1, 255, 255, 0, 0, 0, 0, 0, 0]


def test_voc_refuses_more_objects_than_it_can_number_unless_asked_for_sixteen_bits():
    size = (20, 20)
    one = [(0, square(size, y, x, y + 1, x + 1), {}) for y in range(20) for x in range(20)]
    labels = label_set([(size, one[:255]), (size, one[:254])])
    with pytest.raises(DataError) as caught:
        list(voc_files(labels, Losses()))
    assert caught.value.problems == (
        "image 0.jpg: 255 objects, but object pictures can number 254 (--sixteen-bit holds 65,534)",
    )
    files = {str(path): data for path, data in voc_files(labels, Losses(), sixteen_bit=True)}
    assert oracle.read_indices(files["SegmentationObject/0.png"]).max() == 255
    assert oracle.read_indices(files["SegmentationClass/0.png"]).max() == 1


def test_label_studio_tasks_address_images_and_put_doubtful_ones_first():
    first, second = label_studio_tasks(two_images(), Losses())
    assert first["data"]["image"] == "/data/local-files/?d=sub/a%20b.jpg"
    assert first["predictions"][0]["score"] == 0.25
    assert [region["score"] for region in first["predictions"][0]["result"]] == [0.75, 0.75, 0.25]
    assert second["predictions"] == [{"model_version": "sapnet", "result": []}]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_written_twice_over_itself_and_takes_empty_sets(tmp_path, name):
    out = tmp_path / "out"
    export_labels(two_images(), out, name)
    figures = export_labels(label_set([]), out, name)
    assert (figures["images"], figures["objects"], figures["lost"]) == (0, 0, {})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_folders_with_other_files_are_refused(tmp_path, name):
    out = tmp_path / "out"
    export_labels(two_images(), out, name)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        export_labels(two_images(), out, name)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch):
    out = tmp_path / "out"
    export_labels(two_images(), out, "yolo")
    before = written(out)

    def files():
        yield PurePosixPath("labels", "x.txt"), b"1"
        raise DataError("labels", ["something is wrong"])

    with pytest.raises(DataError):
        write_folder(out, files(), dict)
    monkeypatch.setattr(
        folders, "_swap", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(JobError, match="No space left"):
        export_labels(two_images(), out, "yolo")
    assert written(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_options_of_other_formats_and_wrong_targets_are_refused_together(tmp_path):
    with pytest.raises(InputError) as caught:
        export_labels(two_images(), tmp_path, "cvat", ExportOptions(parts="split", void_rim=2))
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError, match="did you mean 'yolo'"):
        export_labels(two_images(), tmp_path / "x", "yollo")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a.jpg", "b/c.jpg"], ["a.jpg", "b/c.jpg"]),
        (["b\\c.jpg"], ["b/c.jpg"]),
        (["/data/x/a.jpg", "/data/y/b.jpg"], ["x/a.jpg", "y/b.jpg"]),
        (["../new/a.jpg", "../new/b.jpg"], ["a.jpg", "b.jpg"]),
        (["../../etc/a.jpg", "b.jpg"], ["etc/a.jpg", "_/_/b.jpg"]),
        (["C:\\photos\\a.jpg", "C:\\photos\\b.jpg"], ["a.jpg", "b.jpg"]),
    ],
)
def test_files_of_images_stay_within_the_folder(given, expected):
    labels = label_set([(SIZE, [])] * len(given), names=given)
    assert [str(name) for name in relative_names(labels)] == expected


def test_images_that_would_share_a_file_are_named():
    labels = label_set([(SIZE, [])] * 3, names=["a.jpg", "A.png", "b.jpg"])
    assert len(relative_names(labels)) == 3
    with pytest.raises(DataError, match="ids 0 and 10"):
        relative_names(labels, unique_stems=True)


def test_predictions_and_lists_of_coco_results_are_converted(tmp_path, capsys):
    document = label_document([(SIZE, [(7, TWO_PARTS, {"score": 0.5})])])
    results = [{key: entry[key] for key in ("image_id", "category_id", "segmentation", "score")}
               for entry in document["annotations"]]  # fmt: skip
    source, instances, out = tmp_path / "results.json", tmp_path / "gt.json", tmp_path / "out.xml"
    source.write_text(json.dumps(results))
    instances.write_text(json.dumps(document))
    command = ["convert", str(source), "--to", "cvat", "--out", str(out)]
    assert main(command) == 2
    assert "--instances" in capsys.readouterr().err
    assert main([*command, "--instances", str(instances), "--json"]) == 0
    ((name, mask),) = oracle.read_cvat(out.read_bytes())["0.jpg"]
    assert name == "a dog"
    np.testing.assert_array_equal(mask, TWO_PARTS)
    assert json.loads(capsys.readouterr().out)["not_written"] == ["scores", "clicks", "sources"]


def test_convert_never_writes_over_its_source(tmp_path, capsys):
    source = tmp_path / "labels.json"
    source.write_text(json.dumps(label_document([])))
    assert main(["convert", str(source), "--to", "cvat", "--out", str(source)]) == 2
    assert "over the source" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "lables.json"), "--to", "cvat", "--out", "x"]) == 2
    assert "did you mean 'labels.json'" in capsys.readouterr().err


def test_all_defects_of_a_label_file_are_listed(tmp_path):
    document = label_document([(SIZE, [(0, TWO_PARTS, {"score": "high"}), (0, TWO_PARTS, {"point": [1]})])])
    document["annotations"].append({"id": 9, "image_id": 5, "category_id": 0})
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document))
    with pytest.raises(DataError) as caught:
        load_labels(path)
    assert len(caught.value.problems) == 4


def test_a_thousand_objects_in_one_image_are_written(tmp_path):
    size = (40, 50)
    objects = [
        (0, square(size, y, x, y + 1, x + 1), {"score": 0.5}) for y in range(0, 40, 2) for x in range(50)
    ]
    assert len(objects) == 1000
    figures = export_labels(label_set([(size, objects)]), tmp_path / "out.json", "label-studio")
    assert figures["objects"] == 1000
