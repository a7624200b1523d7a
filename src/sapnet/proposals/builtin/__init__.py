"""The learned proposer that is shipped: object boundaries turned into nested regions, ranked per click."""
