"""Sheets of four photographs, which the scores of the built-in proposer are fitted on as well."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sapnet.proposals.proposer import ImagePrompts

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "builtin_sheets.py"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("builtin_sheets", SCRIPT)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def photograph(color: tuple[int, int, int], size: tuple[int, int], box: tuple[int, int, int, int]):
    """A grey photograph with one rectangle, its mask (1, H, W), and a click on its middle."""
    left, top, right, bottom = box
    mask = np.zeros((1, *size), dtype=bool)
    mask[0, top:bottom, left:right] = True
    image = np.full((*size, 3), 128, dtype=np.uint8)
    image[mask[0]] = color
    middle = np.array([[(left + right) / 2.0, (top + bottom) / 2.0]])
    return image, mask, ImagePrompts(7, np.array([sum(color)]), middle, np.array([0]))


PHOTOGRAPHS = [
    photograph((255, 0, 0), (480, 640), (100, 80, 300, 400)),
    photograph((0, 255, 0), (640, 480), (40, 60, 200, 300)),
    photograph((0, 0, 255), (300, 500), (250, 20, 480, 280)),
    photograph((250, 250, 0), (200, 200), (50, 50, 120, 150)),
]


def test_masks_and_clicks_lie_where_the_sheet_shows_the_objects(module):
    sheet = module.sheet_image([image for image, _, _ in PHOTOGRAPHS])
    assert sheet.shape == (480, 640, 3)
    prompts, masks = module.on_sheet(
        [part for _, _, part in PHOTOGRAPHS], [mask for _, mask, _ in PHOTOGRAPHS], (480, 640), (480, 640)
    )
    assert prompts.annotation_ids.tolist() == [255, 255, 255, 500]
    for (image, _, _), mask, (x, y) in zip(PHOTOGRAPHS, masks, prompts.xy, strict=True):
        color = image[~(image == 128).all(2)][0]
        assert mask[int(y), int(x)]
        # Mirrored rims show no object here, so each colour is on the sheet once.
        shown = (np.abs(sheet.astype(int) - color) < 64).all(2)
        assert (shown & mask).sum() / (shown | mask).sum() > 0.96


def test_a_single_photograph_stays_as_it_is_but_for_the_working_size(module):
    image, mask, part = PHOTOGRAPHS[0]
    assert module.sheet_image([image]) is image
    prompts, masks = module.on_sheet([part], [mask], (240, 320), (480, 640))
    assert prompts.xy.tolist() == part.xy.tolist()
    assert (masks[0] == mask[0, ::2, ::2]).all()


def test_a_sheet_holds_four_different_photographs_of_its_own_fold(module):
    chosen = np.arange(100, 131)
    drawn = module.sheets(chosen, 12, 3, seed=0)
    assert drawn == module.sheets(chosen, 12, 3, seed=0)
    for number, group in enumerate(drawn, start=len(chosen)):
        assert len(set(group)) == 4
        assert {(index - 100) % 3 for index in group} == {number % 3}
    assert module.sheets(chosen, 0, 3, seed=0) == []
