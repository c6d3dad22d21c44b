"""The command `demo`: the digits recipe that comes with the package."""

from __future__ import annotations

from pathlib import Path

from tfopt.cli.answer import Answer, JsonOption, QuietOption, VerboseOption
from tfopt.cli.recipes import SAVED_MODELS, Out, execute, load
from tfopt.cli.screen import open_console, print_line, relative_path

RECIPE = Path("pipelines", "digits.yaml")


def demo(
    out: Out = SAVED_MODELS, as_json: JsonOption = False, quiet: QuietOption = False, verbose: VerboseOption = False
) -> None:
    """Run the recipe that comes with tfopt: 1,797 handwritten digits, trained, pruned, int8; no download."""
    answer = Answer(as_json, quiet, verbose)
    with answer.errors():
        recipe = recipe_of_demo()
        execute(load(recipe, None, None), out, answer)
    if answer.plain:
        line = f"recipe  {relative_path(recipe)}"
        print_line(open_console(), line)


def recipe_of_demo() -> Path:
    """The recipe: in the package where that was built, in `pipelines/` beside it in a checkout.

    Raises:
        InputError: It is in neither place.
    """
    from tfopt.errors import InputError

    package = Path(__file__).resolve().parents[1]
    places = [folder / RECIPE for folder in (package, package.parent)]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"this tfopt came without its demo. Install it again, or run a recipe. Received: no {places[0]}.")
