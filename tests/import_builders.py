"""Images with EXIF orientations, and points files out of sources, for the tests of the importers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from sapnet.importers.assemble import assemble
from sapnet.importers.records import Imported, SourceImage, SourcePoint
from sapnet.pipeline import import_points_file

FIXTURES = Path(__file__).resolve().parent / "fixtures" / "importers"


def make_image(path, size=(64, 48), orientation=1, bright=()):
    """Write an image of (width, height) as stored, black but for the pixels (x, y) in ``bright``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    for x, y in bright:
        pixels[y, x] = 255
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def image_folder(root, *names, size=(64, 48)):
    for name in names:
        make_image(root / name, size)
    return root


def source_point(x=1.0, y=2.0, *, image="a.png", label="cat", unit="pixel", where="row 1", **more):
    return SourcePoint(image=image, label=label, x=x, y=y, unit=unit, where=where, **more)


def source_image(name="a.png", size=(None, None), where="image 1", **more):
    return SourceImage(name, *size, where, **more)


def assembled(folder, *points, images=(), **more):
    """Assemble points and images; ``Imported``'s and ``assemble``'s settings by name."""
    settings = {key: more.pop(key) for key in ("class_name", "class_map", "exif") if key in more}
    return assemble(Imported(points=points, images=tuple(images), **more), folder, **settings)


def sentences(problems, *, doubtful=None):
    return [str(item) for item in problems if doubtful is None or item.doubtful is doubtful]


def import_file(source, images, out, **more):
    """Import a source; returns the points file and the figures."""
    figures = import_points_file(source, images, out, **more)
    return json.loads(Path(out).read_text(encoding="utf-8")), figures


def clicks(document):
    """Return (file, class, point, extra points, negative points) of every annotation, in file order."""
    files = {image["id"]: image["file_name"] for image in document["images"]}
    names = {category["id"]: category["name"] for category in document["categories"]}
    return [
        (
            files[entry["image_id"]],
            names[entry["category_id"]],
            tuple(entry["point"]),
            [tuple(xy) for xy in entry.get("extra_points", [])],
            [tuple(xy) for xy in entry.get("negative_points", [])],
        )
        for entry in document["annotations"]
    ]
