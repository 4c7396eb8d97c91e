"""Keys that the commands of the council share."""

from typing import Annotated, TypedDict

from pydantic import Field


class CouncilSettings(TypedDict):
    """Who answers at which scores, and where receipts go."""

    mixture: str | None
    default_expert: str
    generalists: list[str]
    multi_threshold: Annotated[float, Field(ge=0, le=1)]
    most_experts: Annotated[int, Field(gt=0)]
    receipts: str | None
