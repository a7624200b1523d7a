"""Writers of every format that can be imported, from the formats' descriptions. Never imported by src.

Each takes a folder and ``clicks``: a list of (image name, class, (x, y) in pixels), and ``sizes``: {image name:
(width, height)}; it returns the path to import, and the settings that the import needs.
"""

from __future__ import annotations

import json
from xml.sax.saxutils import quoteattr

from sapnet.importers.records import ReaderOptions


def _save(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def _by_image(clicks, sizes):
    return {name: [(label, x, y) for image, label, (x, y) in clicks if image == name] for name in sizes}


def _coco(clicks, sizes, annotate):
    names = list(sizes)
    labels = list(dict.fromkeys(label for _, label, _ in clicks))
    return {
        "images": [
            {"id": index, "file_name": name, "width": sizes[name][0], "height": sizes[name][1]}
            for index, name in enumerate(names)
        ],
        "categories": [{"id": 3 * index, "name": label} for index, label in enumerate(labels)],
        "annotations": [
            {
                "id": 10 + index,
                "image_id": names.index(name),
                "category_id": 3 * labels.index(label),
                **annotate(x, y),
            }
            for index, (name, label, (x, y)) in enumerate(clicks)
        ],
    }


def coco(folder, clicks, sizes):
    return _save(folder / "coco.json", _coco(clicks, sizes, lambda x, y: {"point": [x, y]})), {}


def authors(folder, clicks, sizes):
    document = _coco(clicks, sizes, lambda x, y: {"point": [x, y], "true_bbox": [0, 0, 5, 5], "iscrowd": 0})
    return _save(folder / "authors.json", document), {}


def coco_keypoints(folder, clicks, sizes):
    document = _coco(clicks, sizes, lambda x, y: {"keypoints": [0, 0, 0, x, y, 2], "num_keypoints": 1})
    return _save(folder / "keypoints.json", document), {}


def point_sup(folder, clicks, sizes):
    document = _coco(clicks, sizes, lambda x, y: {"point_coords": [[x, y]], "point_labels": [1]})
    return _save(folder / "point_sup.json", document), {}


def _csv(folder, clicks, sizes, unit):
    lines = ["image,x,y,label,width,height"]
    for name, label, (x, y) in clicks:
        width, height = sizes[name]
        scale = {
            "pixel": (1, 1),
            "percent": (100 / width, 100 / height),
            "fraction": (1 / width, 1 / height),
        }[unit]
        lines.append(f'"{name}",{x * scale[0]!r},{y * scale[1]!r},"{label}",{width},{height}')
    lines += [f'"{name}",,,,{width},{height}' for name, (width, height) in sizes.items()]
    path = _save(folder / f"{unit}.csv", "\n".join(lines) + "\n")
    return path, {"options": ReaderOptions(unit=unit)}


def csv_pixel(folder, clicks, sizes):
    return _csv(folder, clicks, sizes, "pixel")


def csv_percent(folder, clicks, sizes):
    return _csv(folder, clicks, sizes, "percent")


def csv_fraction(folder, clicks, sizes):
    return _csv(folder, clicks, sizes, "fraction")


def label_studio(folder, clicks, sizes):
    tasks = []
    for number, (name, points) in enumerate(_by_image(clicks, sizes).items()):
        width, height = sizes[name]
        result = [
            {
                "id": f"r{index}",
                "type": "keypointlabels",
                "from_name": "kp",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "x": x * 100 / width,
                    "y": y * 100 / height,
                    "width": 0.5,
                    "keypointlabels": [label],
                },
            }
            for index, (label, x, y) in enumerate(points)
        ]
        mangled = "/data/upload/1/1a2b3c4d-" + name.rsplit("/", 1)[-1].replace(" ", "%20")
        annotations = [{"id": number, "was_cancelled": False, "result": result}]
        tasks.append({"id": number, "data": {"image": mangled}, "annotations": annotations})
    return _save(folder / "label_studio.json", tasks), {}


def cvat(folder, clicks, sizes):
    lines = ["<annotations><version>1.1</version>"]
    for number, (name, points) in enumerate(_by_image(clicks, sizes).items()):
        lines.append(
            f'<image id="{number}" name={quoteattr(name)} width="{sizes[name][0]}" height="{sizes[name][1]}">'
        )
        lines += [
            f'<points label={quoteattr(label)} occluded="0" points="{x:.2f},{y:.2f}" z_order="0"></points>'
            for label, x, y in points
        ]
        lines.append("</image>")
    return _save(folder / "annotations.xml", "\n".join([*lines, "</annotations>"])), {}


def datumaro(folder, clicks, sizes):
    labels = list(dict.fromkeys(label for _, label, _ in clicks))
    items = [
        {
            "id": name.rsplit(".", 1)[0],
            "image": {"path": name.replace("/", "\\"), "size": [sizes[name][1], sizes[name][0]]},
            "annotations": [
                {"id": 0, "type": "points", "label_id": labels.index(label), "points": [x, y], "group": 0}
                for label, x, y in points
            ],
        }
        for name, points in _by_image(clicks, sizes).items()
    ]
    listed = [{"name": label, "parent": ""} for label in labels]
    return _save(folder / "datumaro.json", {"categories": {"label": {"labels": listed}}, "items": items}), {}


def labelme(folder, clicks, sizes):
    for number, (name, points) in enumerate(_by_image(clicks, sizes).items()):
        document = {
            "version": "7.1.0",
            "flags": {},
            "shapes": [
                {"label": label, "points": [[x, y]], "group_id": None, "shape_type": "point", "flags": {}}
                for label, x, y in points
            ],
            "imagePath": "..\\images\\" + name.replace("/", "\\"),
            "imageData": None,
            "imageWidth": sizes[name][0],
            "imageHeight": sizes[name][1],
        }
        _save(folder / "labelme" / f"{number}.json", document)
    return folder / "labelme", {}


def via(folder, clicks, sizes):
    entries = {
        f"{name}123": {
            "filename": name,
            "size": 123,
            "regions": [
                {
                    "shape_attributes": {"name": "point", "cx": x, "cy": y},
                    "region_attributes": {"class": label},
                }
                for label, x, y in points
            ],
            "file_attributes": {},
        }
        for name, points in _by_image(clicks, sizes).items()
    }
    return _save(folder / "via.json", {"_via_settings": {}, "_via_img_metadata": entries}), {}


def via_three(folder, clicks, sizes):
    labels = list(dict.fromkeys(label for _, label, _ in clicks))
    numbers = {name: str(index + 1) for index, name in enumerate(sizes)}
    document = {
        "project": {"pid": "p"},
        "config": {"file": {"loc_prefix": {"1": ""}}},
        "attribute": {
            "1": {"aname": "kind", "type": 4, "options": {str(i): label for i, label in enumerate(labels)}}
        },
        "file": {
            key: {"fid": key, "fname": name, "type": 2, "loc": 1, "src": name}
            for name, key in numbers.items()
        },
        "view": {key: {"fid_list": [key]} for key in numbers.values()},
        "metadata": {
            f"{numbers[name]}_{index}": {
                "vid": numbers[name],
                "z": [],
                "xy": [1, x, y],
                "av": {"1": str(labels.index(label))},
            }
            for index, (name, label, (x, y)) in enumerate(clicks)
        },
    }
    return _save(folder / "via3.json", document), {}


def fiftyone(folder, clicks, sizes):
    samples = [
        {
            "filepath": name,
            "metadata": {"width": sizes[name][0], "height": sizes[name][1]},
            "points": {
                "_cls": "Keypoints",
                "keypoints": [
                    {
                        "_cls": "Keypoint",
                        "label": label,
                        "points": [[x / sizes[name][0], y / sizes[name][1]]],
                    }
                    for label, x, y in points
                ],
            },
        }
        for name, points in _by_image(clicks, sizes).items()
    ]
    return _save(folder / "samples.json", {"samples": samples}), {}


def make_sense(folder, clicks, sizes):
    lines = [
        f"{label},{int(x)},{int(y)},{name.rsplit('/', 1)[-1]},{sizes[name][0]},{sizes[name][1]}"
        for name, label, (x, y) in clicks
    ]
    return _save(folder / "make_sense.csv", "\n".join(lines) + "\n"), {}


WRITERS = {
    "authors": authors,
    "coco": coco,
    "coco-keypoints": coco_keypoints,
    "point-sup": point_sup,
    "csv pixel": csv_pixel,
    "csv percent": csv_percent,
    "csv fraction": csv_fraction,
    "label-studio": label_studio,
    "cvat": cvat,
    "datumaro": datumaro,
    "labelme": labelme,
    "via": via,
    "via 3": via_three,
    "fiftyone": fiftyone,
    "make-sense": make_sense,
}
WHOLE_PIXELS = {"make-sense"}
