"""Exports read back by other people's libraries, where those are installed."""

import json

import numpy as np
import pytest
from PIL import Image

from export_builders import label_document, square
from sapnet.exporters.export import export_labels
from sapnet.exporters.label_studio import label_studio_tasks
from sapnet.exporters.losses import Losses
from sapnet.labels.label_set import labels_from_json

SIZE = (24, 30)
MASKS = (
    square(SIZE, 2, 3, 14, 15) & ~square(SIZE, 5, 6, 9, 11),
    square(SIZE, 16, 2, 22, 9) | square(SIZE, 17, 14, 23, 29),
)


@pytest.fixture
def labels():
    objects = [(7, MASKS[0], {"score": 0.5}), (0, MASKS[1], {})]
    return labels_from_json(label_document([(SIZE, objects), (SIZE, [])], names=["a.png", "b.png"]), "labels")


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (SIZE[1], SIZE[0])).save(folder / name)
    return folder


def overlap(found, wanted):
    return float((found & wanted).sum() / (found | wanted).sum())


def test_supervision_reads_the_same_masks_from_coco(labels, images, tmp_path):
    supervision = pytest.importorskip("supervision")
    export_labels(labels, tmp_path / "labels.json", "coco")
    found = supervision.DetectionDataset.from_coco(
        str(images), str(tmp_path / "labels.json"), force_masks=True
    )
    of_image = {path.rsplit("/", 1)[-1]: detections for path, _, detections in found}
    assert len(of_image["b.png"]) == 0
    np.testing.assert_array_equal(np.asarray(of_image["a.png"].mask, dtype=bool), np.stack(MASKS))


def test_supervision_reads_the_rows_of_yolo_as_one_object_each(labels, images, tmp_path):
    supervision = pytest.importorskip("supervision")
    out = tmp_path / "yolo"
    export_labels(labels, out, "yolo", images_dir=images)
    found = supervision.DetectionDataset.from_yolo(
        str(out / "images" / "train"), str(out / "labels" / "train"), str(out / "data.yaml"), force_masks=True
    )
    of_image = {path.rsplit("/", 1)[-1]: detections for path, _, detections in found}
    assert of_image["a.png"].class_id.tolist() == [1, 0]
    # The seam between the parts of the second object is drawn one pixel wide.
    assert [
        round(overlap(np.asarray(mask, dtype=bool), wanted), 1)
        for mask, wanted in zip(np.asarray(of_image["a.png"].mask), MASKS, strict=True)
    ] == [1.0, 1.0]


def test_label_studios_own_decoder_unpacks_brush_regions(labels):
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    task = json.loads(json.dumps(label_studio_tasks(labels, Losses(), shapes="mask")))[0]
    for region, wanted in zip(task["predictions"][0]["result"], MASKS, strict=True):
        shape = (region["original_height"], region["original_width"], 4)
        unpacked = np.reshape(brush.decode_rle(region["value"]["rle"]), shape)
        np.testing.assert_array_equal(unpacked[:, :, 3] == 255, wanted)
