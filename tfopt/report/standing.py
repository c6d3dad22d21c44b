"""How a run stands, in lines below its table: failed gates, unfinished stages, a recipe that was changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.workspace import Workspace
from tfopt.report.recipe_file import read_recipe

# The fields of a recipe that results depend on and that a record of the recipe has as they were written.
COMPARED = ("stages", "loss", "seed")


def standing(folder: Path, artifacts: Mapping[str, Artifact], recipe: Recipe | None = None) -> list[str]:
    """The lines, none for a run that is finished, has met its gates and is of this recipe.

    Args:
        folder: The run's folder.
        artifacts: Its results by the names of their stages.
        recipe: The recipe as it is now; None where only the folder is known.
    """
    recorded = read_recipe(folder)
    lines = [f"FAIL  {artifact.failed}" for artifact in artifacts.values() if artifact.failed]
    lines += _unfinished(Workspace(folder), recipe or recorded)
    lines += [
        f"note  {name}: left out, as it was made from an earlier {before}; tfopt run makes it again"
        for name, before in outdated_steps(folder, recipe or recorded).items()
    ]
    if recipe is not None and recorded is not None:
        now, then = (one.model_dump(mode="json", include=set(COMPARED)) for one in (recipe, recorded))
        unread = {*recipe.unread, *recorded.unread}
        if unread:
            told = f"note  {', '.join(sorted(unread))}: of your own code, which was not run"
            lines.append(f"{told}; --use runs it, and tells whether the stages were changed")
        compared = [name for name in COMPARED if name != "stages" or not unread]
        if changed := [name for name in compared if now[name] != then[name]]:
            lines.append(f"note  the recipe has other {', '.join(changed)} than this run; tfopt run makes what differs")
    return lines


def outdated_steps(folder: Path, recipe: Recipe | None = None) -> dict[str, str]:
    """The outdated results of a run's folder that are of its recipe's stages, each with what was made anew.

    Args:
        folder: The run's folder.
        recipe: The recipe; that which lies in the folder if not given.
    """
    recipe = recipe or read_recipe(folder)
    steps = {step.name for step in recipe.chain()} if recipe else set()
    return {name: before for name, before in Workspace(folder).outdated().items() if name in steps}


def _unfinished(workspace: Workspace, recipe: Recipe | None) -> Iterator[str]:
    steps = {step.name: step.stage for step in recipe.chain()} if recipe else {}
    for name, finished in workspace.unfinished().items():
        epochs = getattr(steps.get(name), "epochs", None)
        of_all = f" of {epochs}" if epochs else ""
        done = f"{finished}{of_all} epochs, not finished" if finished else "not finished"
        yield f"note  {name}: {done}; tfopt run goes on"
