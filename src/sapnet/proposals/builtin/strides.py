"""The grids of the boundary network's maps, for modules that need no torch."""

FINE_STRIDE, COARSE_STRIDE = 2, 4
"""Input pixels per cell of the boundary maps, and of the inside and extent maps."""
SIZE_DIVISOR = 32
"""The deepest stage's stride: images are padded to a multiple of it."""
REGION_CHANNEL, OBJECT_CHANNEL = 0, 1
"""Boundary maps: of regions (BSDS500) and of whole objects."""
