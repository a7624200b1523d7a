"""Throws damaged files at the readers of ``sapnet points import``; only clear errors may come back.

``python benchmarks/fuzz_importers.py --cases 100000 --seed 0``: so many cases per format, each a random
change of one of its fixtures. A case fails if anything but an ``InputError`` is raised, if what comes out is
no valid points file, or if it takes too much time or memory. Case ``n`` of a format depends on the seed and
``n`` only, so ``--format NAME --first n --cases 1`` repeats it. Prints a JSON object per format; exit code 1
if a case failed.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from PIL import Image

from sapnet.data.annotations import points_from_json
from sapnet.data.images import stored_orientation
from sapnet.errors import InputError
from sapnet.importers import matching, placing
from sapnet.importers.assemble import assemble
from sapnet.importers.formats import FORMATS, detect
from sapnet.importers.records import ReaderOptions

FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "importers"
SOURCES: dict[str, tuple[str, ...]] = {
    "label-studio": ("label_studio.json", "label_studio_bad.json", "label_studio_min.json"),
    "cvat": ("cvat.xml", "cvat_bad.xml", "cvat_entities.xml", "cvat_video.xml"),
    "datumaro": ("datumaro.json", "datumaro_bad.json"),
    "labelme": ("labelme/a.json", "labelme/sub/b.json", "labelme_bad.json"),
    "via": ("via_project.json", "via_one.json", "via_three.json", "via.csv"),
    "fiftyone": ("fiftyone/samples.json",),
    "point-sup": ("point_sup.json",),
    "make-sense": ("make_sense.csv",),
    "authors": ("authors_stage_a.json", "authors_stage_b.json"),
    "coco": ("coco_points.json", "coco_bad.json"),
    "coco-keypoints": ("coco_keypoints.json",),
    "instances": ("instances.json",),
    "csv": ("table.csv", "table.tsv"),
}
IMAGES = {"a.png": 1, "sub/b c.png": 6, "c.png": 3, "d.jpg": 8}
CPU_SECONDS = 10
MEMORY = 4 << 30
_TOKENS = (
    *(b"NaN", b"-Infinity", b"1e999", b"-0.0", b"1e308", b"0", b"-1", b"9" * 30, b"9" * 5000, b"0.1e-999"),
    *(
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'""',
        b"[[]]",
        b'"\\ud800"',
        b'"\\u0000"',
        b"\xed\xa0\x80",
        b"\0",
        b"\xff",
    ),
    *(
        b'{"a":1,"a":2}',
        b"[" * 3000,
        b"]" * 40,
        b'{"a":' * 3000,
        b"<a>" * 3000,
        b"&lol9;",
        b"<![CDATA[",
        b"<!--",
    ),
    *(
        b'"',
        b"'",
        b",",
        b";",
        b"\t",
        b"\r",
        b"\n",
        b"<",
        b">",
        b"/>",
        b"\\",
        b"%00",
        b"../",
        b"?d=",
        b"\xef\xbb\xbf",
    ),
    b"\xff\xfe",
)
_ENTITIES = b"".join(
    [
        b'<?xml version="1.0"?><!DOCTYPE annotations [<!ENTITY l0 "lol">',
        *(b'<!ENTITY l%d "%s">' % (i, b"&l%d;" % (i - 1) * 10) for i in range(1, 12)),
        b'<!ENTITY x SYSTEM "file:///etc/hostname">]>',
    ]
)
_ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        3,
        0.5,
        -0.5,
        1e300,
        float("nan"),
        float("inf"),
        2**31,
        2**63,
        -(10**40),
    ),
    *(
        "",
        " ",
        "a.png",
        "A.PNG",
        "cat",
        "\ud800",
        "\0",
        "9",
        "NaN",
        "x" * 5000,
        "../a.png",
        "?d=",
        "%",
        "[1,2",
    ),
    *([], {}, [[]], [None], [1], [1, 2], [1, 2, 3], ["a", "b"], {"a": 1}, {"x": 1, "y": 2}, [[1, 2], [3, 4]]),
    [1, 2, 2, float("nan"), 4, 1],
)

_ODD_TEXTS = (
    *(
        b"",
        b" ",
        b"0",
        b"1",
        b"-1",
        b"0.5",
        b"1e999",
        b"nan",
        b"1,5",
        b"1_0",
        b"\xd9\xa3",
        b"99999999999999999999",
    ),
    *(
        b"1,2",
        b"1,2;3",
        b"1,2;3,4",
        b";",
        b",",
        b"1,2;;",
        b"x,y",
        b"a.png",
        b"A.PNG",
        b"cat",
        b"true",
        b"{}",
        b"[1]",
    ),
    *(
        b"{&quot;name&quot;:&quot;point&quot;}",
        b'"{""name"":""point"",""cx"":1,""cy"":2}"',
        b"&amp;",
        b"&#0;",
        b"x" * 5000,
    ),
)


def damage(data: bytes, others: tuple[bytes, ...], rng: random.Random) -> bytes:
    """Return a random change of a file.

    Args:
        data: The file.
        others: Files of the same format, to take pieces from.
        rng: Draws what happens.
    """
    kind = rng.random()
    if kind < 0.03:
        return rng.randbytes(rng.randrange(400))
    if kind < 0.13:
        return data[: rng.randrange(len(data) + 1)]
    if kind < 0.55:
        changed = _damage_values(data, rng)
        return _damage_cells(data, rng) if changed is None else changed
    if kind > 0.98 and b"<" in data[:200]:
        return _ENTITIES + data[data.find(b"<annotations") :].replace(b"cat", b"&l11;", 1)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        data = rng.choice(_BYTE_CHANGES)(data, others, rng)
    return data


def run_case(name: str, case: int, seed: int, folder: Path, images: Path) -> tuple[str, str]:
    """Import one damaged file.

    Returns:
        ``accepted``, ``refused`` or ``failed``, and in the last case what happened.
    """
    rng = random.Random(f"{seed}/{name}/{case}")
    contents = _contents(name)
    chosen = rng.randrange(len(contents))
    path = folder / Path(SOURCES[name][chosen]).name
    path.write_bytes(damage(contents[chosen], contents, rng))
    options = ReaderOptions(
        unit=rng.choice((None, "pixel", "pixel", "percent", "fraction")),
        several=rng.choice((None, "each", "one")),
        shapes=rng.random() < 0.5,
        attribute=rng.choice((None, None, "class", "kind")),
        annotations=rng.choice(("latest", "all")),
        mode=rng.choice(("center", "quasi-center", "random")),
    )
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        if rng.random() < 0.2:
            detect(path)
        imported = FORMATS[name].read(path, options)
        made = assemble(imported, images, class_name=rng.choice((None, "thing")))
        points_from_json(json.loads(json.dumps(made.document, allow_nan=False)), "points.json")
        "\n".join([*map(str, made.problems), *made.notes]).encode("utf-8")
        json.dumps(made.document, ensure_ascii=False).encode("utf-8")
    except InputError as error:
        str(error).encode("utf-8")
        ours = error.subject not in {"points.json", "instances"}
        return ("refused", "") if ours else ("failed", f"the result is no points file: {error}")
    except Exception:  # noqa: BLE001 - that is what this looks for
        return "failed", traceback.format_exc(limit=-6)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        path.unlink()
    return "accepted", ""


def fuzz(names: tuple[str, ...], cases: int, seed: int, first: int = 0) -> dict[str, dict[str, Any]]:
    """Run cases of several formats; returns counts per format and the first failures."""
    signal.signal(signal.SIGPROF, _too_long)
    # The images are the same in all cases: reading their headers once leaves the time to the readers.
    root = Path(tempfile.mkdtemp(prefix="fuzz_importers_"))
    with (
        mock.patch.object(placing, "stored_orientation", functools.cache(stored_orientation)),
        mock.patch.object(matching, "_files_below", return_value=tuple(IMAGES)),
    ):
        try:
            images = _write_images(root / "images")
            return {
                name: _fuzz_format(name, range(first, first + cases), seed, root, images) for name in names
            }
        finally:
            shutil.rmtree(root)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="cases per format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument(
        "--format", choices=list(FORMATS), action="append", help="only this (may be repeated)"
    )
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    failed = 0
    for name in args.format or FORMATS:
        result = fuzz((name,), args.cases, args.seed, args.first)
        failed += result[name]["failed"]
        print(json.dumps(result), flush=True)  # noqa: T201 - its product
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB", file=sys.stderr)  # noqa: T201
    return 1 if failed else 0


def _fuzz_format(name: str, cases: range, seed: int, root: Path, images: Path) -> dict[str, Any]:
    counts = {"cases": len(cases), "accepted": 0, "refused": 0, "failed": 0}
    failures: list[dict[str, Any]] = []
    slowest = 0.0
    for case in cases:
        start = time.process_time()
        outcome, text = run_case(name, case, seed, root, images)
        slowest = max(slowest, time.process_time() - start)
        counts[outcome] += 1
        if outcome == "failed" and len(failures) < 20:
            failures.append({"case": case, "error": text})
    return {**counts, "slowest_cpu_seconds": round(slowest, 3), "failures": failures}


@functools.cache
def _contents(name: str) -> tuple[bytes, ...]:
    return tuple((FIXTURES / file).read_bytes() for file in SOURCES[name])


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {CPU_SECONDS} s of processor time")


def _write_images(folder: Path) -> Path:
    for name, orientation in IMAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (64, 48)).save(folder / name, exif=exif)
    return folder


def _damage_values(data: bytes, rng: random.Random) -> bytes | None:
    """Replace, remove, repeat or exchange values of a JSON document; None where it is none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = list(_places(document))
        if not places:
            break
        parent, key = rng.choice(places)
        change = rng.randrange(5)
        if change == 0:
            del parent[key]
        elif change == 1:
            parent[key] = [parent[key]]
        elif change == 2 and isinstance(parent, list):
            parent.extend(copy.deepcopy(parent[key]) for _ in range(rng.choice((1, 2, 50))))
        elif change == 3:
            other, place = rng.choice(places)
            try:
                parent[key] = json.loads(json.dumps(other[place]))
            except (KeyError, IndexError):
                continue
        else:
            parent[key] = copy.deepcopy(rng.choice(_ODD))
    return json.dumps(document, ensure_ascii=True).encode()


def _damage_cells(data: bytes, rng: random.Random) -> bytes:
    """Replace some texts between quotes (attributes of XML) or separators (cells of a table)."""
    pattern = rb'"[^"<>]*"' if b"<" in data[:200] else rb"(?<=[,;\t\n])[^,;\t\r\n]*(?=[,;\t\r\n])"
    cells = list(re.finditer(pattern, data))
    for cell in sorted(
        rng.sample(cells, min(len(cells), rng.choice((1, 1, 2, 4)))), key=lambda item: -item.start()
    ):
        odd = rng.choice((*_ODD_TEXTS, rng.choice(cells)[0].strip(b'"')))
        quote = b'"' if cell[0][:1] == b'"' else b""
        data = data[: cell.start()] + quote + odd + quote + data[cell.end() :]
    return data


def _places(value: Any) -> Any:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in list(children):
        yield value, key
        yield from _places(child)


def _flip(data: bytes, others: tuple[bytes, ...], rng: random.Random) -> bytes:
    if not data:
        return data
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


def _insert(data: bytes, others: tuple[bytes, ...], rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(_TOKENS) + data[place:]


def _overwrite_number(data: bytes, others: tuple[bytes, ...], rng: random.Random) -> bytes:
    digits = [index for index, byte in enumerate(data) if 48 <= byte <= 57]
    if not digits:
        return data
    place = rng.choice(digits)
    return data[:place] + rng.choice(_TOKENS) + data[place + 1 :]


def _remove(data: bytes, others: tuple[bytes, ...], rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[min(end, start + 60) :]


def _repeat(data: bytes, others: tuple[bytes, ...], rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * rng.choice((1, 1, 3)) + data[end:]


def _splice(data: bytes, others: tuple[bytes, ...], rng: random.Random) -> bytes:
    other = rng.choice(others)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


_BYTE_CHANGES: tuple[Callable[[bytes, tuple[bytes, ...], random.Random], bytes], ...] = (
    *(_flip, _flip, _insert, _insert, _overwrite_number, _overwrite_number, _remove, _repeat, _splice),
)

if __name__ == "__main__":
    raise SystemExit(main())
