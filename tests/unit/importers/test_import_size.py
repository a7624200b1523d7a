"""Many points, one image with many points, and no points at all."""

from __future__ import annotations

import time

from import_builders import image_folder, import_file
from sapnet.importers.records import ReaderOptions


def test_ten_thousand_points_take_under_two_seconds(tmp_path):
    names = [f"{index}.png" for index in range(20)]
    images = image_folder(tmp_path / "images", *names)
    rows = [f"{names[i % 20]},{i % 6400 / 100},{i % 4800 / 100},class {i % 7}" for i in range(10_000)]
    (tmp_path / "points.csv").write_text("\n".join(["image,x,y,label", *rows]))
    start = time.process_time()
    document, figures = import_file(
        tmp_path / "points.csv", images, tmp_path / "points.json", options=ReaderOptions(unit="pixel")
    )
    assert time.process_time() - start < 2
    assert len(document["annotations"]) == figures["points"] == 10_000


def test_a_table_with_a_header_only_is_an_empty_points_file(tmp_path):
    images = image_folder(tmp_path / "images", "a.png")
    (tmp_path / "points.csv").write_text("image,x,y\n")
    document, figures = import_file(
        tmp_path / "points.csv", images, tmp_path / "points.json", options=ReaderOptions(unit="pixel")
    )
    assert document == {"images": [], "categories": [], "annotations": []}
    assert figures["images_not_in_source"] == 0
