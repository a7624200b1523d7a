"""Paths out of the addresses under which annotation tools keep images."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import parse_qs, unquote, urlsplit

IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jp2", ".avif"}
)
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_SERVED_WITH_PATH = ("d", "filepath")


def path_in(address: str) -> str:
    """Return the path of an image in an address, with ``/`` between its parts.

    Addresses of web servers and buckets lose their scheme, host and bucket and their percent escapes;
    ``/data/local-files/?d=PATH`` and ``/storage-data/uploaded/?filepath=PATH`` of Label Studio give ``PATH``,
    and ``/data/upload/3/NAME`` gives ``NAME``. Everything else is returned as it is.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    served = parts.path.startswith(("/data/local-files", "/storage-data/"))
    if served and parts.query:
        given = parse_qs(parts.query)
        paths = [given[key][0] for key in _SERVED_WITH_PATH if key in given]
        return forward(paths[0]) if paths else address
    if _ADDRESS.match(address):
        return unquote(parts.path).lstrip("/") or address
    uploaded = re.fullmatch(r"/?(?:data/)?upload/(?:\d+/)?([^/]+)", address)
    return unquote(uploaded[1]) if uploaded else address


def forward(path: str) -> str:
    r"""Return a path with ``/`` between its parts, also where it was written with ``\``."""
    return PureWindowsPath(path).as_posix() if "\\" in path else path


def beside(folder: PurePosixPath, path: str) -> str:
    """Return a path that is relative to ``folder`` as one that is relative to what ``folder`` is relative to.

    Absolute paths stay; steps above the common root are dropped.
    """
    plain = forward(path)
    if plain.startswith("/") or PureWindowsPath(plain).drive:
        return plain
    parts: list[str] = []
    for part in (*folder.parts, *PurePosixPath(plain).parts):
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts) or plain


def looks_like_image(value: object) -> bool:
    """Tell whether a value is a text that seems to be the address of an image file."""
    if not isinstance(value, str) or len(value) > 4096 or value.startswith("data:"):
        return isinstance(value, str) and value.startswith("data:image")
    ending = PurePosixPath(forward(path_in(value))).suffix.lower()
    return ending in IMAGE_ENDINGS or value.startswith(("/data/upload/", "/data/local-files"))
