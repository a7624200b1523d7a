"""The COCO figures on real photographs equal those of pycocotools used directly."""

import contextlib
import copy
import io
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sapnet.data.annotations import load_instances
from sapnet.data.rle import decode_masks, encode_mask
from sapnet.evaluation import evaluate_coco


def mask_box(entry):
    return mask_utils.toBbox(entry["segmentation"]).tolist()


def test_figures_equal_pycocotools_on_street4(shared_data, tmp_path, rng):
    path = shared_data / "street4" / "instances_val.json"
    truth = load_instances(path)
    results = []
    for row in range(0, len(truth.annotation_ids), 3):
        image = int(truth.annotation_image_index[row])
        mask = decode_masks([truth.counts[row]], truth.images.size(image))[0].astype(np.uint8)
        worn = (cv2.erode if row % 2 else cv2.dilate)(mask, np.ones((3, 3), np.uint8)).astype(bool)
        segmentation = {"size": list(worn.shape), "counts": encode_mask(worn).decode()}
        category = truth.categories[int(truth.annotation_labels[row])].id
        results.append(
            {
                "image_id": int(truth.images.ids[image]),
                "category_id": category,
                "score": float(rng.random()),
                "segmentation": segmentation,
            }
        )
    (tmp_path / "predictions.json").write_text(json.dumps(results))
    figures = evaluate_coco(tmp_path / "predictions.json", path)
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    # Results of boxes have boxes alone: with masks beside them pycocotools sizes them by the masks.
    boxes = [
        {**{key: entry[key] for key in entry if key != "segmentation"}, "bbox": mask_box(entry)}
        for entry in results
    ]
    for kind, found, given in (("segm", figures, results), ("bbox", figures["box"], boxes)):
        with contextlib.redirect_stdout(io.StringIO()):
            reference = COCO(str(path))
            evaluation = COCOeval(reference, reference.loadRes(copy.deepcopy(given)), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        assert [found[name] for name in names] == pytest.approx(evaluation.stats[:6].tolist()), kind
