"""One formula per function; sums and counts, normalised once in ``total``."""
