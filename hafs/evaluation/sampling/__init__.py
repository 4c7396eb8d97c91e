"""Samples answers to training prompts and keeps the ones that a check has proven.

prompts    of the training split: what is held out is never asked
asking     many requests at a time through the provider chain, within a budget; every answer goes to the journal
checking   each answer by the first metric that applies to its prompt
keeping    the shortest right answer of a prompt, without echoes and near duplicates; pairs of right and wrong ones
"""
