"""The learned proposer that is shipped: object boundaries turned into nested regions, ranked per click."""

ADVICE = "leave out --checkpoint (proposals.checkpoint) to use the weights that come with the package"
"""What mends a weights file that cannot be used."""
