"""A trained segmenter for use in a loop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageOps

from sapnet.api.arguments import DEVICES, AnyPath, Device, refuse_unknown
from sapnet.api.image_labels import ImageLabels
from sapnet.api.process_state import in_python_words, one_job
from sapnet.build import build_postprocess
from sapnet.data.images import read_image, to_rgb
from sapnet.data.rle import encode_mask
from sapnet.engine.devices import device_of
from sapnet.engine.trained import load_segmenter
from sapnet.engine.validation import prediction_dataset
from sapnet.errors import DataError
from sapnet.inference.predict import predict_one

AnyImage = AnyPath | UInt8[ndarray, "H W 3"] | UInt8[ndarray, "H W"] | Image.Image
"""An image file, an RGB or grey array, or a Pillow image."""


class Model:
    """A trained segmenter; made by :func:`load_model`. Threads may share it.

    Args:
        path: Run folder or model file.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        CheckpointError: It cannot be loaded, or has no trained segmenter.
        InputError: The device is not here.
    """

    def __init__(self, path: AnyPath, *, device: Device = "auto") -> None:
        self.path = Path(path)
        refuse_unknown(device=(device, DEVICES))
        with one_job():
            network, card = load_segmenter(self.path)
            self.config = card.config.model_copy(update={"device": device})
            self.device = device_of(self.config)
        self.class_names: tuple[str, ...] = tuple(name for _, name in card.categories)
        self._network = network.eval().to(self.device)
        self._postprocess = build_postprocess(self.config)

    def predict(self, image: AnyImage) -> ImageLabels:
        """Segment one image, as ``sapnet predict`` does.

        Args:
            image: A file (turned as EXIF says), an array (H, W, 3) RGB or (H, W) grey of uint8, or a
                Pillow image.

        Returns:
            Masks, boxes, scores and class names, best first, in pixels of the image.

        Raises:
            DataError: The file cannot be read, or the array is of another kind.
        """
        with in_python_words():
            pixels, name = _pixels_of(image)
        dataset = prediction_dataset([Path(name)], self.config)
        found = predict_one(
            self._network,
            dataset.prepare(pixels, Path(name)),
            self._postprocess,
            size_divisor=self.config.data.size_divisor,
            device=self.device,
        )
        labels = found.labels.numpy()
        return ImageLabels(
            image_id=1,
            file_name=name,
            size=found.image_size,
            ids=np.arange(1, len(labels) + 1),
            counts=tuple(map(encode_mask, found.masks.numpy())),
            boxes=found.boxes.numpy().astype(np.float64),
            scores=np.round(found.scores.numpy().astype(np.float64), 6),
            labels=labels,
            class_names=tuple(self.class_names[label] for label in labels.tolist()),
            points=np.full((len(labels), 2), np.nan),
        )

    def __repr__(self) -> str:
        return f"<Model {str(self.path)!r}: {', '.join(self.class_names)}>"


def load_model(path: AnyPath, *, device: Device = "auto") -> Model:
    """Load a trained segmenter.

    Args:
        path: Run, run folder or model file.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        CheckpointError: It cannot be loaded, or has no trained segmenter; lists every reason.
        InputError: The device is not here.
    """
    return Model(path, device=device)


def _pixels_of(image: Any) -> tuple[UInt8[ndarray, "H W 3"], str]:
    """The pixels, and what to call the image."""
    if isinstance(image, str | os.PathLike):
        return read_image(image), os.fspath(image)
    if isinstance(image, Image.Image):
        name = str(getattr(image, "filename", "") or "image")
        return to_rgb(ImageOps.exif_transpose(image)), name
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        found = f"{pixels.dtype} of shape {image.shape if hasattr(image, 'shape') else pixels.shape}"
        raise DataError("the image", [f"expected uint8 of shape (H, W, 3) RGB or (H, W) grey, got {found}"])
    return np.require(pixels, requirements=("C", "W")), "image"
