"""The SAM family as proposers, through the classes of ``transformers`` (the optional extra ``sam``).

Nothing here imports ``transformers`` or loads weights before it is needed. Start at
``proposer.SamProposer``.
"""
