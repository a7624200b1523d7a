"""Data sets as COCO instances: Pascal VOC, SBD, and subsets of COCO files."""
