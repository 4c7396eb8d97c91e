"""The minimum amount of held-out data for a comparison.

Rows with the same prompt or `split_group` are not independent, so a comparison counts groups. With fewer than five
groups or 30 rows, a bootstrap interval would be too narrow, so hafs reports none.
"""

FEWEST_ROWS = 30
FEWEST_GROUPS = 5


def too_few(rows: int, groups: int) -> str:
    """Why these rows are too few for a comparison; empty if they are enough.

    Args:
        rows: Number of measured rows.
        groups: Number of prompts, or of distinct `split_group` values, among them.
    """
    if rows >= FEWEST_ROWS and groups >= FEWEST_GROUPS:
        return ""
    prompts = f"{groups} prompt{'s' * (groups != 1)}"
    return (
        f"too few to say: {rows} row{'s' * (rows != 1)} of {prompts}, at least {FEWEST_ROWS} of {FEWEST_GROUPS} needed"
    )
