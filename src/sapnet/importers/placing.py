"""Which file each image of a source is, and in which frame its clicks were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sapnet.data.images import stored_orientation
from sapnet.errors import DataError
from sapnet.importers.frames import Exif, Frame, choose_frame
from sapnet.importers.matching import ImageFolder, describe_name
from sapnet.importers.records import Imported, Problem, SourceImage, SourcePoint, SourceRegion

_LISTED = 4


@dataclass(frozen=True, slots=True)
class Place:
    """An image of the source that was found. Several names can be one file only if they are one path."""

    file: str
    """Path below the image folder, with forward slashes."""
    frame: Frame


@dataclass
class Places:
    """What was found for the names of a source."""

    of_name: dict[str, Place] = field(default_factory=dict)
    """The places of the names that have one, in the source's order."""
    numbers: dict[str, int | None] = field(default_factory=dict)
    """The source's image id per file."""
    problems: list[Problem] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    """Files whose clicks were made on the picture before EXIF."""
    unmatched: int = 0
    """Names without a file."""
    unlisted: int = 0
    """Files of the folder that look like images and are not in the source."""


def place_images(imported: Imported, folder: ImageFolder, exif: Exif) -> Places:
    """Match the images of a source with the files of a folder and settle their frames.

    Args:
        imported: What the source says.
        folder: The image folder.
        exif: On which picture the clicks were made.

    Returns:
        A place per name, and all problems; what concerns an image is said once, with how many of its
        points are left out.
    """
    listed: dict[str, list[SourceImage]] = {}
    for image in imported.images:
        listed.setdefault(image.name, []).append(image)
    mentioned: tuple[SourcePoint | SourceRegion, ...] = (*imported.points, *imported.regions)
    for item in mentioned:
        if item.image not in listed:
            listed[item.image] = [SourceImage(item.image, None, None, item.where)]
    counts = Counter(point.image for point in imported.points)
    places = Places()
    matched = _match_names(listed, folder, places, counts)
    in_pixels = counts.keys() - {point.image for point in imported.points if point.unit != "pixel"}
    for name, file in matched.items():
        _place(listed[name], file, folder, exif, places, counts[name], in_pixels=name in in_pixels)
    for name in places.of_name:
        if len(listed[name]) > 1:
            text = f"the image {describe_name(name)} is listed {len(listed[name])} times; taken as one"
            places.problems.append(Problem(listed[name][1].where, text, doubtful=True))
    used = set(matched.values())
    kinds = {_ending(file) for file in used}
    places.unlisted = sum(_ending(file) in kinds and file not in used for file in folder.files)
    return places


def _match_names(
    names: Mapping[str, list[SourceImage]], folder: ImageFolder, places: Places, counts: Mapping[str, int]
) -> dict[str, str]:
    """Return the file of each name that has one for itself."""
    by_file: dict[str, list[str]] = {}
    doubts: dict[str, str] = {}
    for name, images in names.items():
        match = folder.match(name)
        if match.file is None:
            places.unmatched += 1
            text = f"image {describe_name(name)}: {match.text}{_left_out(counts[name])}"
            places.problems.append(Problem(images[0].where, text))
            continue
        by_file.setdefault(match.file, []).append(name)
        doubts[name] = match.text
    result = {}
    for file, rivals in by_file.items():
        winners = [name for name in rivals if _path(name) == file] if len(rivals) > 1 else rivals
        result.update(dict.fromkeys(winners, file))
        for name in filter(doubts.get, winners):
            text = f"image {describe_name(name)}: {doubts[name]}"
            places.problems.append(Problem(names[name][0].where, text, doubtful=True))
        losers = [name for name in rivals if name not in winners]
        places.unmatched += len(losers)
        for name in losers:
            others = _some(describe_name(other) for other in rivals if other != name)
            text = f"image {describe_name(name)}: the only file that fits is {file}, which fits {others} too"
            text += _left_out(counts[name])
            places.problems.append(Problem(names[name][0].where, text))
    return {name: result[name] for name in names if name in result}


def _place(
    images: list[SourceImage],
    file: str,
    folder: ImageFolder,
    exif: Exif,
    places: Places,
    count: int,
    *,
    in_pixels: bool,
) -> None:
    """Settle the frame of an image; ``in_pixels``: its points can only be placed on a picture of its size."""
    where, name = images[0].where, images[0].name
    try:
        stored, orientation = stored_orientation(folder.path / file)
    except DataError as error:
        places.problems.append(Problem(where, f"{error.problems[0]}{_left_out(count)}"))
        return
    declared = [(item.height, item.width) for item in images if item.height and item.width]
    frame, text = choose_frame(stored, orientation, declared, exif)  # type: ignore[arg-type]
    if frame is None or (frame.resized and in_pixels):
        places.problems.append(Problem(where, f"image {describe_name(name)}: {text}{_left_out(count)}"))
        return
    if text and not frame.resized:
        places.problems.append(Problem(where, f"image {describe_name(name)}: {text}", doubtful=True))
    if frame.resized:
        text += "; only shares of its sides can be placed"
        places.problems.append(Problem(where, f"image {describe_name(name)}: {text}", doubtful=True))
    if frame.orientation != 1:
        places.turned.append(file)
    places.of_name[name] = Place(file, frame)
    if places.numbers.get(file) is None:
        places.numbers[file] = images[0].number


def _left_out(count: int) -> str:
    if count == 0:
        return ""
    return f"; its {count} points are left out" if count > 1 else "; its point is left out"


def _path(name: str) -> str:
    """Return a name as a plain path: several spellings of one path are one image."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in {"", "."})


def _ending(file: str) -> str:
    return file.rpartition(".")[2].lower()


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = ", ..." if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more
