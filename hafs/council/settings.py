"""Keys that the commands of the council share."""

from typing import Annotated, TypedDict

from pydantic import Field


class CouncilSettings(TypedDict):
    """The thresholds of the router, and the folder of the receipts."""

    mixture: str | None
    default_expert: str
    generalists: list[str]
    multi_threshold: Annotated[float, Field(ge=0, le=1)]
    most_experts: Annotated[int, Field(gt=0)]
    receipts: str | None
