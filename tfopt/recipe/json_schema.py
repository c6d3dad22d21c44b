"""The JSON schema of recipes, from which editors complete and check YAML."""

from __future__ import annotations

from typing import Any

from tfopt.recipe.recipe import Recipe
from tfopt.recipe.stage import known_stages


def json_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors, with every registered stage by its kind."""
    from pydantic.json_schema import models_json_schema

    kinds = known_stages()
    refs, definitions = models_json_schema(
        [(kind, "validation") for kind in kinds.values()], ref_template="#/$defs/{model}"
    )
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$defs"] = {**schema.get("$defs", {}), **definitions.get("$defs", {})}
    written = [
        {
            "type": "object",
            "properties": {name: {"anyOf": [refs[(kind, "validation")], {"type": "null"}]}},
            "required": [name],
            "additionalProperties": False,
        }
        for name, kind in kinds.items()
    ]
    bare = {"type": "string", "enum": sorted(kinds)}
    schema["properties"]["stages"]["items"] = {"oneOf": [bare, *written]}
    one_or_more: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    about = schema["properties"]["use"]["description"]
    schema["properties"]["use"] = {"description": about, "default": [], **one_or_more}
    schema["properties"]["metrics"]["anyOf"] = [
        *one_or_more["anyOf"],
        {"type": "object", "additionalProperties": one_or_more},
    ]
    schema["properties"]["loss"]["anyOf"] = [{"type": "string"}, {"type": "object"}, {"type": "null"}]
    for source in ("model", "data"):
        schema["properties"][source]["anyOf"] = [{"type": "string"}, {"type": "object", "maxProperties": 1}]
    return schema
