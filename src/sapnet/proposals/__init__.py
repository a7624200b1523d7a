"""Masks per click: proposers, the simulated SAM, and the store that keeps what they made."""
