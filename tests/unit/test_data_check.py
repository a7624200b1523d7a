"""The points check names everything at once."""

from __future__ import annotations

import pytest
from PIL import Image

from data_builders import click, document, image_entry, write_image, write_json
from sapnet.data.check import check_points


def check(tmp_path, annotations, **more):
    return check_points(
        write_json(tmp_path / "points.json", document(annotations, **more)), tmp_path / "images"
    )


def test_a_good_file_has_no_problems(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    clicks = [click(i, (4 * i + 1, 5), category_id=7 * (i % 2)) for i in range(15)]
    clicks += [click(100 + i, (4 * i + 1, 15), category_id=7 * (i % 2)) for i in range(15)]
    report = check(tmp_path, clicks)
    assert report.ok
    assert report.warnings == report.notes == ()
    assert report.summary["clicks"] == 30
    assert report.summary["clicks_per_image"] == {"mean": 30.0, "max": 30}
    assert report.summary["classes"][1] == {"id": 7, "name": "dog", "clicks": 14, "images": 1}


def test_every_bad_image_is_named(tmp_path):
    folder = tmp_path / "images"
    write_image(folder / "a.png")
    write_image(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:3000])
    write_image(folder / "small.png", (10, 20))
    write_image(folder / "sub" / "x y.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(folder / "turned.jpg", exif=exif)
    write_image(folder / "swapped.png", (64, 48))
    names = ["a.png", "b.png", "cut.png", "small.png", "sub\\x%20y.png", "turned.jpg", "swapped.png"]
    report = check(tmp_path, [], images=[image_entry(i, name) for i, name in enumerate(names)])
    text = "\n".join(report.problems)
    assert len(report.problems) == 6
    assert "b.png (image id 1): there is no such image" in text
    assert "did you mean 'a.png'" in text
    assert "cut.png (image id 2)" in text
    assert (
        "small.png (image id 3): is 20 x 10 pixels (width x height), but the points file says 64 x 48" in text
    )
    assert "did you mean 'sub/x y.png'" in text
    assert "turned.jpg (image id 5): is 48 x 64" in text
    assert "unturned picture" in text
    assert "swapped.png (image id 6)" in text
    assert "width and height seem to be swapped" in text


def test_headers_alone_miss_a_cut_file_but_are_enough_for_sizes(tmp_path):
    path = tmp_path / "images" / "a.jpg"
    write_image(path)
    path.write_bytes(path.read_bytes()[:1000])
    points = write_json(tmp_path / "points.json", document(images=[image_entry(name="a.jpg")]))
    assert check_points(points, tmp_path / "images", decode_images=False).ok
    assert not check_points(points, tmp_path / "images").ok


def test_points_outside_the_image_are_problems(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    report = check(
        tmp_path,
        [
            click(1, (64, 10)),
            click(2, (-0.1, 10)),
            click(3, (63.9, 47.9), extra_points=[[1, 48]], negative_points=[[100, 100]]),
        ],
    )
    assert len(report.problems) == 4
    assert "annotation 1 in a.png: point (64, 10) is outside the image of 64 x 48" in report.problems[0]
    assert "extra_points (1, 48)" in report.problems[2]
    assert "negative_points (100, 100)" in report.problems[3]


def test_odd_but_legal_things_are_warnings_and_notes(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    report = check(
        tmp_path,
        [
            click(1, (10, 10)),
            click(2, (10.5, 10.2)),
            click(3, (10, 10), image_id=2, negative_points=[[10.1, 10]]),
        ],
        images=[image_entry(1), image_entry(2), image_entry(3)],
    )
    assert report.ok
    text = "\n".join(report.warnings)
    assert "annotations 1 and 2 in a.png are clicked on nearly the same pixel" in text
    assert "annotation 3 in a.png has a negative point on its own click" in text
    assert "class 'cat' (id 0) has only 3 clicks" in text
    assert "class 'dog' (id 7) has no clicks" in text
    assert "a.png: images 1 and 2 are the same file" in text
    assert len([line for line in report.warnings if "nearly" in line]) == 1
    assert report.notes == ("1 of 3 images have no clicks and count as empty: a.png",)


@pytest.mark.parametrize("content", ["{", '{"images": 1}'])
def test_a_file_that_does_not_load_is_reported_not_raised(tmp_path, content):
    (tmp_path / "points.json").write_text(content)
    report = check_points(tmp_path / "points.json", tmp_path / "nowhere")
    assert any("no such image folder" in problem for problem in report.problems)
    assert any("points.json" in problem for problem in report.problems)
