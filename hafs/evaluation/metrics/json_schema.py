"""JSON schema: the answer is JSON that a schema accepts."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class JsonSchema(Metric):
    """Share of answers that are JSON of a schema, over the rows whose own answer is."""

    path: str
    """File with the schema (JSON Schema, draft 2020-12)."""

    def missing(self) -> str:
        """Check that the schema can be read and is one."""
        from jsonschema import Draft202012Validator, SchemaError

        try:
            Draft202012Validator.check_schema(json.loads(Path(self.path).read_text(encoding="utf-8")))
        except (OSError, ValueError, SchemaError) as error:
            return f"{self.path} is not a JSON schema ({type(error).__name__})"
        return ""

    def parts(self, said: Said) -> Parts | None:
        """1 or 0."""
        if said.answer is None or not self._accepts(said.reference):
            return None
        return Parts(float(self._accepts(said.answer)))

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator

        return Draft202012Validator(json.loads(Path(self.path).read_text(encoding="utf-8")))

    def _accepts(self, text: str) -> bool:
        try:
            return self._validator.is_valid(json.loads(text))
        except (ValueError, RecursionError):
            return False
