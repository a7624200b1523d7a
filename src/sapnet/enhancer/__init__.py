"""The point-to-box enhancer (P2BNet, ECCV 2022): one box per click, learned from clicks alone."""
