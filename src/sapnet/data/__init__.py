"""Data: annotation files, images, run-length masks, the embedded scenes, and the loaders.

Only ``transforms``, ``dataset`` and ``collate`` import torch.
"""
