"""The JSON Schema of a file of rules, from the same models that validate it: editors complete and check with it."""

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import GenerateJsonSchema

from birdwatch.detect.budget import Budget
from birdwatch.detect.kind import Rule
from birdwatch.detect.verdict import WATCHDOG

__all__ = ["rules_schema"]


class _Schema(GenerateJsonSchema):
    """As pydantic writes it, without titles that say the names of fields again, and with defaults as one would write."""

    schema_dialect = "https://json-schema.org/draft/2020-12/schema"

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False

    def encode_default(self, dft: Any) -> Any:
        return super().encode_default(dft.model_dump(exclude_none=True) if isinstance(dft, BaseModel) else dft)


def rules_schema(kinds: Mapping[str, type[Rule]]) -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a file of rules of these kinds, at least two.

    It knows each field by itself. What fields must be to each other, and that a name stands once, `check_rules` knows.

    Examples
    --------
    >>> from birdwatch.detect.rules import KINDS
    >>> sorted(rules_schema(KINDS)["properties"])
    ['budget', 'rules']
    """
    rule: Any = Annotated[reduce(or_, kinds.values()), Field(discriminator="kind")]
    document: type[BaseModel] = create_model(
        "Rules",
        __config__=ConfigDict(extra="forbid"),
        rules=(list[rule], Field(default=[], description="The rules, in any order.")),
        budget=(Budget, Field(default=Budget(), description="One file of a folder may hold it.")),
    )
    schema = document.model_json_schema(schema_generator=_Schema)
    for part in schema["$defs"].values():
        # A rule has its kind by default, but a file must say of which kind a rule is.
        if part.get("properties", {}).get("kind", {}).get("const") in kinds:
            part["required"] = ["name", "kind", *(name for name in part["required"] if name not in ("name", "kind"))]
            part["properties"]["name"]["not"] = {"const": WATCHDOG}
    return {"$schema": _Schema.schema_dialect, **schema, "title": "Rules of Birdwatch"}
