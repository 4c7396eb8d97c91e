"""How much held-out data a comparison needs before it says anything.

Rows of one prompt, or of one `split_group`, are not independent: a comparison counts the groups that they form. Under
five groups, or 30 rows, a bootstrap interval is narrower than the truth, so none is given.
"""

FEWEST_ROWS = 30
FEWEST_GROUPS = 5


def too_few(rows: int, groups: int) -> str:
    """Why rows say nothing about a difference, in words; empty where they are enough.

    Args:
        rows: That were measured.
        groups: Prompts, or families of rows by `split_group`, that they belong to.
    """
    if rows >= FEWEST_ROWS and groups >= FEWEST_GROUPS:
        return ""
    prompts = f"{groups} prompt{'s' * (groups != 1)}"
    return (
        f"too few to say: {rows} row{'s' * (rows != 1)} of {prompts}, at least {FEWEST_ROWS} of {FEWEST_GROUPS} needed"
    )
