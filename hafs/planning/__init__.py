"""Whether a run will fit, how long it will take and what it will cost, before anything is loaded.

    architecture (exact shapes) + workload (tokens) + hardware -> memory, duration -> plan -> fits (what to change)

Nothing here imports torch unless a model is counted for the first time: a plan is arithmetic.
"""
