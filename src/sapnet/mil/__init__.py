"""The paper's training-time stages, one file per stage, as pure functions.

Each file names its section, equation or algorithm; ``docs/algorithm.md`` is the table.
"""
