"""The JSON schema of recipes, from which editors complete and check YAML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tfopt.recipe.recipe import Recipe
from tfopt.recipe.stage import known_stages

# Where the schema lies for editors, from the folder of a project.
SCHEMA_FILE = Path(".tfopt/recipe.schema.json")
# The comment from which YAML language servers know the schema of a file, and the part of it before the schema's path.
_LINE = "yaml-language-server: $schema="


def schema_line(recipe: Path, schema: Path) -> str:
    """The comment, without its `# `, from which a YAML language server knows the schema of a recipe.

    Args:
        recipe: The recipe's file, from whose folder the path in the line leads.
        schema: The schema's file.

    References:
        https://github.com/redhat-developer/yaml-language-server, "Using inlined schema"
    """
    return f"{_LINE}{Path(os.path.relpath(schema.resolve(), recipe.resolve().parent)).as_posix()}"


def with_schema_line(text: str, line: str) -> str:
    """The text of a recipe with that line at its head, in the place of an older one."""
    lines = text.splitlines(keepends=True)
    rest = [other for other in lines if not other.lstrip("# ").startswith(_LINE)]
    return "".join([f"# {line}\n", *rest])


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
    # One object with a property for each kind: editors then offer the kinds, and say which one is not known.
    written = {
        "title": "Stage",
        "type": "object",
        "properties": {name: {"anyOf": [refs[(kind, "validation")], {"type": "null"}]} for name, kind in kinds.items()},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    bare = {"type": "string", "enum": sorted(kinds)}
    schema["properties"]["stages"]["items"] = {"anyOf": [written, bare]}
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
