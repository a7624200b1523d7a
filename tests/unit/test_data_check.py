"""The points check names everything at once."""

from __future__ import annotations

import pytest
from PIL import Image

from data_builders import click, document, image_entry, write_image, write_json
from sapnet.cli.check_lines import check_lines
from sapnet.data.check import check_points
from sapnet.pipeline import check_points_file


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
    assert [row["kind"] for row in report.table] == [
        "clicks on one pixel",
        "negative point on its click",
        "class without clicks",
        "class with few clicks",
        "file listed twice",
        "image without clicks",
    ]
    assert report.notes == ("1 of 3 images have no clicks and count as empty: a.png",)


@pytest.mark.parametrize("content", ["{", '{"images": 1}'])
def test_a_file_that_does_not_load_is_reported_not_raised(tmp_path, content):
    (tmp_path / "points.json").write_text(content)
    report = check_points(tmp_path / "points.json", tmp_path / "nowhere")
    assert any("no such image folder" in problem for problem in report.problems)
    assert any("points.json" in problem for problem in report.problems)


def test_clicks_on_the_border_and_the_same_click_twice_are_warnings(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    spots = [(0.5, 20), (63.2, 20), (20, 47.5), (20, 1), (30, 30), (30, 30), (40, 30), (40, 30)]
    clicks = [click(i, xy, category_id=7 if i == 7 else 0) for i, xy in enumerate(spots)]
    report = check(tmp_path, clicks)
    assert report.ok
    counts = {row["kind"]: row["count"] for row in report.table}
    assert counts["point on the border"] == 3
    assert counts["same click twice"] == 1
    assert counts["clicks on one pixel"] == 1
    text = "\n".join(report.warnings)
    assert "annotation 0 in a.png: point (0.5, 20) lies on the border of the image" in text
    assert "annotations 4 and 5 in a.png are the same click (30, 30) on the same class" in text
    assert "annotations 6 and 7 in a.png are clicked on nearly the same pixel" in text


def test_a_thousand_clicks_on_one_spot_are_paired_in_a_row(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    report = check(tmp_path, [click(i, (30, 30)) for i in range(1000)])
    assert {row["kind"]: row["count"] for row in report.table}["same click twice"] == 999


def test_boxes_and_areas_in_the_file_tell_tiny_objects_and_stray_clicks(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    report = check(
        tmp_path,
        [
            click(1, (10, 10), bbox=[5, 5, 20, 7]),
            click(2, (20, 20), area=30.5),
            click(3, (30, 30), bbox=[0, 0, 10, 10], area=1),
            click(4, (40, 40), bbox=[35, 35, 10, 10], area=90),
            click(5, (50, 40), bbox="none", area=[1]),
        ],
    )
    text = "\n".join(report.warnings)
    assert "annotation 1 in a.png is smaller than 8 x 8 pixels" in text
    assert "annotation 2 in a.png is smaller" in text
    assert "annotation 3 in a.png: point (30, 30) is outside its own bbox" in text
    counts = {row["kind"]: row["count"] for row in report.table}
    assert (counts["tiny object"], counts["click outside its bbox"]) == (2, 1)


def test_class_imbalance_is_a_warning(tmp_path):
    write_image(tmp_path / "images" / "a.png", (600, 600))
    clicks = [click(i, (10 + 20 * (i % 25), 10 + 20 * (i // 25))) for i in range(600)]
    clicks.append(click(600, (590, 590), category_id=7))
    report = check(tmp_path, clicks, images=[image_entry(size=(600, 600))])
    (line,) = [line for line in report.warnings if "times those" in line]
    assert line == "class 'cat' has 600 clicks, 600 times those of 'dog' (1)"


def test_a_turn_that_the_size_does_not_show_and_unlisted_files_are_said(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "images" / "upside.jpg", exif=exif)
    write_image(tmp_path / "images" / "sub" / "other.png")
    (tmp_path / "images" / "readme.txt").write_text("no image")
    report = check(tmp_path, [], images=[image_entry(name="upside.jpg")])
    assert "upside.jpg (image id 1): EXIF orientation 3 turns or mirrors it" in "\n".join(report.warnings)
    assert "1 images of the folder are not in the points file: sub/other.png" in report.notes


def test_a_file_whose_letters_have_another_case_is_suggested(tmp_path):
    write_image(tmp_path / "images" / "IMG_1.PNG")
    report = check(tmp_path, [], images=[image_entry(name="img_1.png")])
    assert "did you mean 'IMG_1.PNG'?" in report.problems[0]


def test_people_get_tables_and_a_verdict(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    clicks = [click(1, (70, 10)), *(click(i, (0, i), category_id=7) for i in range(2, 40))]
    points = write_json(tmp_path / "points.json", document(clicks))
    figures = check_points_file(points, tmp_path / "images")
    lines = check_lines(figures)
    assert lines[0].startswith("error: annotation 1 in a.png: point (70, 10) is outside")
    assert "19 more warnings (--json lists all)" in lines
    assert " 7  dog        38       1" in lines
    assert any(line.startswith("error        1  point outside ") for line in lines)
    verdict = "39 clicks on 1 images: 1 error, 39 warnings; nothing else can run before the errors are mended"
    assert lines[-1] == verdict


def test_a_file_that_does_not_load_has_a_table_too(tmp_path):
    (tmp_path / "points.json").write_text("{")
    lines = check_lines(check_points_file(tmp_path / "points.json", tmp_path))
    assert lines[-1].startswith("1 error, 0 warnings")


def test_a_damaged_file_hides_nothing_else_that_is_wrong(tmp_path):
    folder = tmp_path / "images"
    write_image(folder / "a.png")
    (folder / "b.png").write_bytes(b"no image")
    images = [
        image_entry(1, "a.png"),
        image_entry(2, "b.png"),
        image_entry(3, "missing.png"),
        {"id": 4, "file_name": "a.png", "width": 0, "height": 48},
    ]
    clicks = [
        click(1, (5, 5), image_id=1),
        click(1, (640, 5), image_id=1),  # the id is there already, and the point is outside
        click(2, (5, 481), image_id=1, category_id=99),
        click(3, (5, 5), image_id=77),
        click(4, (999, 999), image_id=4),  # nobody knows how large that image is
        {**click(5, (6, 6), image_id=1), "point": "here"},
    ]
    report = check(tmp_path, clicks, images=images)
    text = "\n".join(report.problems)
    for said in (
        "annotations[1] (id 1): the id 1 is already used",
        "category_id 99 is not in categories",
        "image_id 77 is not in images",
        "images[3] (id 4): 'width' must be an integer of at least 1",
        "annotations[5] (id 5): 'point' must be [x, y]",
        "annotation 1 in a.png: point (640, 5) is outside",
        "annotation 2 in a.png: point (5, 481) is outside",
        "b.png (image id 2): ",
        "missing.png (image id 3): there is no such image",
    ):
        assert said in text
    assert len(report.problems) == 9
    assert report.warnings == report.notes == ()
    assert report.summary == {}


@pytest.mark.parametrize(
    "content",
    ["{}", '{"images": [], "annotations": 3}', '{"images": [{}], "annotations": [{"image_id": 0}]}'],
)
def test_files_with_hardly_anything_in_them_are_reported(tmp_path, content):
    (tmp_path / "points.json").write_text(content)
    (tmp_path / "images").mkdir()
    report = check_points(tmp_path / "points.json", tmp_path / "images")
    assert report.problems
    assert all("points.json" in problem for problem in report.problems)
