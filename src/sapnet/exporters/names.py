"""Where the file of an image lies within an exported folder."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

from sapnet.errors import DataError
from sapnet.labels.label_set import LabelSet

_DRIVE = re.compile(r"^[A-Za-z]:")


def relative_names(labels: LabelSet, *, unique_stems: bool = False) -> list[PurePosixPath]:
    """Return one path per image that stays within the folder it is put in.

    File names are kept with their folders. If one of them is absolute or climbs up (``sapnet
    predict`` writes paths as they were given), all are taken relative to the deepest folder that
    they share.

    Args:
        labels: Their images.
        unique_stems: Whether names must also differ without their endings, because the format
            replaces the ending.

    Raises:
        DataError: Two images would get one file, or a name is no name of a file.
    """
    given = [name.replace("\\", "/") for name in labels.images.file_names]
    paths = [os.path.normpath(_DRIVE.sub("", name)) for name in given]
    if any(path.startswith(("/", "..")) for path in paths):
        # Climbing names are compared from one place, which has to exist in name only.
        deepest = max(path.count("../") for path in paths)
        base = "/" + "/".join(["_"] * (deepest + 1))
        paths = [os.path.normpath(f"{base}/{path}" if not path.startswith("/") else path) for path in paths]
        shared = os.path.commonpath([str(PurePosixPath(path).parent) for path in paths])
        paths = [os.path.relpath(path, shared) for path in paths]
    names = [PurePosixPath(path) for path in paths]
    problems = [
        f"image id {labels.images.ids[row]}: {labels.images.file_names[row]!r} is no name of a file"
        for row, name in enumerate(names)
        if not name.name or ".." in name.parts or "\0" in str(name)
    ]
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        # Some file systems do not tell large letters from small ones.
        key = str(name.with_suffix("") if unique_stems and name.name else name).casefold()
        first = seen.setdefault(key, row)
        if first != row:
            problems.append(
                f"image ids {labels.images.ids[first]} and {labels.images.ids[row]}: "
                f"{labels.images.file_names[first]!r} and {labels.images.file_names[row]!r} would be written "
                "to one file; rename one of the images"
            )
    if problems:
        raise DataError("the images of the labels", problems)
    return names
