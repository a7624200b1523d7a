"""Readers of the formats that labels are exported to, written from the formats' descriptions with loops."""

from __future__ import annotations

import base64
import io
import json
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw


def filled(polygon, size):
    """Pixels whose centre is inside by the even-odd rule: a ray to the left crosses an odd number of edges."""
    height, width = size
    mask = np.zeros(size, dtype=bool)
    for row in range(height):
        for column in range(width):
            x, y = column + 0.5, row + 0.5
            inside = False
            for place in range(len(polygon)):
                (x0, y0), (x1, y1) = polygon[place - 1], polygon[place]
                if (y0 > y) != (y1 > y) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) < x:
                    inside = not inside
            mask[row, column] = inside
    return mask


def winding_filled(polygon, size):
    """The same by the nonzero rule."""
    height, width = size
    mask = np.zeros(size, dtype=bool)
    for row in range(height):
        for column in range(width):
            x, y = column + 0.5, row + 0.5
            turns = 0
            for place in range(len(polygon)):
                (x0, y0), (x1, y1) = polygon[place - 1], polygon[place]
                if (y0 > y) != (y1 > y) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) < x:
                    turns += 1 if y1 > y0 else -1
            mask[row, column] = turns != 0
    return mask


def drawn(polygon, size):
    """Like the trainers: pixels of the outline and inside it, its vertices being pixel numbers."""
    picture = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(picture).polygon([tuple(vertex) for vertex in polygon], fill=1, outline=1)
    return np.array(picture, dtype=bool)


def read_yolo(text, size, to_whole=int):
    """(class, mask) per row; coordinates become whole pixels by cutting (or rounding) them."""
    height, width = size
    found = []
    for line in text.splitlines():
        number, *values = line.split()
        assert len(values) >= 6
        assert len(values) % 2 == 0
        assert all(0 <= float(value) <= 1 for value in values)
        polygon = [
            (to_whole(float(values[place]) * width), to_whole(float(values[place + 1]) * height))
            for place in range(0, len(values), 2)
        ]
        found.append((int(number), drawn(polygon, size)))
    return found


def read_labelme(data):
    """(label, mask) per object; shapes of one group are one object."""
    document = json.loads(data)
    assert isinstance(document["version"], str)
    assert document["imageData"] is None
    size = (document["imageHeight"], document["imageWidth"])
    found: dict[object, tuple[str, np.ndarray]] = {}
    for place, shape in enumerate(document["shapes"]):
        assert isinstance(shape["flags"], dict)
        mask = np.zeros(size, dtype=bool)
        if shape["shape_type"] == "mask":
            (left, top), (right, bottom) = [[int(value) for value in corner] for corner in shape["points"]]
            picture = np.array(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
            mask[top : bottom + 1, left : right + 1] = picture.astype(bool)
        else:
            assert shape["shape_type"] == "polygon"
            mask = filled(shape["points"], size)
        key = ("alone", place) if shape["group_id"] is None else ("group", shape["group_id"])
        before = found.get(key, (shape["label"], np.zeros(size, dtype=bool)))
        assert before[0] == shape["label"]
        found[key] = (shape["label"], before[1] | mask)
    return list(found.values())


def unpack_runs(data):
    """The rle-pack form: returns the bytes that were packed."""
    bits = "".join(f"{byte:08b}" for byte in data)
    place = 0

    def take(count):
        nonlocal place
        value = int(bits[place : place + count], 2)
        place += count
        return value

    count = take(32)
    word = take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    values = []
    while len(values) < count:
        repeated = take(1)
        length = take(widths[take(2)]) + 1
        if repeated:
            values += [take(word)] * length
        else:
            values += [take(word) for _ in range(length)]
    return values


def read_label_studio(task):
    """(class, mask) per object."""
    found: dict[str, tuple[str, np.ndarray]] = {}
    (prediction,) = task["predictions"]
    ids = [region["id"] for region in prediction["result"]]
    assert len(set(ids)) == len(ids)
    for region in prediction["result"]:
        size = (region["original_height"], region["original_width"])
        value = region["value"]
        if region["type"] == "brushlabels":
            assert value["format"] == "rle"
            mask = np.array(unpack_runs(value["rle"])).reshape(*size, 4)[:, :, 3] == 255
            found[region["id"]] = (value["brushlabels"][0], mask)
        else:
            assert region["type"] == "polygonlabels"
            assert value["closed"] is True
            points = [(x / 100 * size[1], y / 100 * size[0]) for x, y in value["points"]]
            name = region["meta"]["object"][0]
            before = found.get(name, (value["polygonlabels"][0], np.zeros(size, dtype=bool)))
            found[name] = (before[0], before[1] | filled(points, size))
    return list(found.values())


def read_cvat(data):
    """Image name -> (label, mask) per object."""
    root = ElementTree.fromstring(data)
    assert root.findtext("version") == "1.1"
    known = {entry.findtext("name") for entry in root.iterfind("meta/task/labels/label")}
    found = {}
    for image in root.iterfind("image"):
        size = (int(image.get("height")), int(image.get("width")))
        objects: dict[object, tuple[str, np.ndarray]] = {}
        for place, shape in enumerate(image):
            assert shape.get("label") in known
            mask = np.zeros(size, dtype=bool)
            key: object = place
            if shape.tag == "mask":
                left, top = int(shape.get("left")), int(shape.get("top"))
                width, height = int(shape.get("width")), int(shape.get("height"))
                flat, value = [], False
                for run in shape.get("rle").split(","):
                    flat += [value] * int(run)
                    value = not value
                mask[top : top + height, left : left + width] = np.array(flat).reshape(height, width)
            else:
                assert shape.tag == "polygon"
                points = [tuple(map(float, pair.split(","))) for pair in shape.get("points").split(";")]
                mask = filled(points, size)
                key = place if shape.get("group_id") is None else f"group {shape.get('group_id')}"
            before = objects.get(key, (shape.get("label"), np.zeros(size, dtype=bool)))
            objects[key] = (before[0], before[1] | mask)
        found[image.get("name")] = list(objects.values())
    return found


def read_indices(data):
    """The values of a palette or 16-bit picture."""
    return np.array(Image.open(io.BytesIO(data)))
