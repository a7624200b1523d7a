"""Figures against ground truth: COCO AP, VOC AP and the quality of labels made from clicks.

The only package, beside the report, that may read ground truth masks.
"""

from sapnet.evaluation.coco_ap import evaluate_coco
from sapnet.evaluation.label_quality import evaluate_labels
from sapnet.evaluation.voc_ap import evaluate_voc

__all__ = ["evaluate_coco", "evaluate_labels", "evaluate_voc"]
