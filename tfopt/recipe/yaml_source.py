"""Reading of YAML recipes, and the lines of mistakes in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfopt.errors import Location, RecipeError, did_you_mean_file
from tfopt.recipe.yaml_limits import MOST_BYTES, LimitError, check_text


def is_recipe(path: Path) -> bool:
    """Whether a path is that of a recipe, by its suffix."""
    return path.suffix in (".yaml", ".yml")


def read_yaml(file: Path) -> Any:
    """Reads a YAML file into a document that knows the line of each of its parts.

    Raises:
        RecipeError: The file does not exist, is not a YAML mapping, or is larger than any recipe.
    """
    text = _text(file)
    document = _loaded(file, text)
    if document is None:
        what = "there are only comments in it" if text.strip() else "the file is empty"
        raise RecipeError(f"{file}:1: {what}. A recipe has name, model, data and stages; tfopt init writes one.")
    if not isinstance(document, Mapping):
        raise RecipeError(
            f"{file}:1: a recipe is a mapping with name, model, data and stages. Received: {document!r:.100}."
        )
    if problems := list(_decimal_commas(document, ())):
        raise locate(RecipeError(problems), file, document)
    return document


def _text(file: Path) -> str:
    """The text of a file, of which no more is read than a recipe has: the file may be a device."""
    try:
        with file.open("rb") as stream:
            return stream.read(MOST_BYTES + 1).decode()
    except FileNotFoundError:
        way = did_you_mean_file(file) or " Give the path of a recipe, such as pipelines/digits.yaml."
        raise RecipeError(f"there is no recipe {file}.{way}") from None
    except IsADirectoryError:
        inside = next(iter(sorted(file.glob("*.yaml"))), file / "recipe.yaml")
        raise RecipeError(f"{file} is a folder, and a recipe is a file. Name one in it, such as {inside}.") from None
    except OSError as error:
        raise RecipeError(f"{file} cannot be read: {error.strerror}. Give the path of another recipe.") from None
    except UnicodeDecodeError:
        raise RecipeError(
            f"{file} is not a text file. A recipe is YAML; to look into a model use tfopt inspect."
        ) from None


def _loaded(file: Path, text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        check_text(text)
        return YAML().load(text)
    except LimitError as error:
        raise RecipeError(f"{file}:{error.line}: no recipe: {error}. Shorten it.") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = str(error.problem or error.context or "it cannot be parsed").splitlines()[0]
        tabs = any(
            "\t" in part[: len(part) - len(part.lstrip())] for part in text.splitlines()[max(line - 2, 0) : line]
        )
        way = " Indent with spaces: YAML takes no tabs." if tabs else ""
        raise RecipeError(f"{file}:{line}: not YAML: {problem}.{way}") from None
    except YAMLError as error:
        raise RecipeError(f"{file}: not YAML: {str(error).splitlines()[0]}.") from None
    except Exception as error:  # of values that it cannot make, such as a number of 5,000 digits
        raise RecipeError(f"{file}: not YAML: {str(error).splitlines()[0] or type(error).__name__}.") from None


def _decimal_commas(part: Any, place: Location) -> Iterator[tuple[Location, str]]:
    """Numbers such as 0,8 within braces, which YAML takes for a 0 and for a key 8 without a value."""
    if isinstance(part, Mapping):
        before: tuple[Any, Any] = (None, None)
        for key, value in part.items():
            if value is None and _is_whole(before[1]) and _is_whole(key):
                digits = f"{key:0{getattr(key, '_width', None) or 1}d}"
                number = f"{before[1]},{digits}"
                way = f"Write {number.replace(',', '.')}."
                yield (*place, before[0]), f"{before[0]}: {number}? Numbers have a decimal point. {way}"
            yield from _decimal_commas(value, (*place, key))
            before = (key, value)
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from _decimal_commas(value, (*place, index))


def locate(error: RecipeError, file: Path, document: Any, changed: Sequence[str] = ()) -> RecipeError:
    """Puts `file:line: ` in front of each problem, or the option that put a value in place of the file's."""

    def where(place: Location) -> str:
        return f"--{place[0]}" if place and place[0] in changed else f"{file}:{_line(document, place)}"

    return RecipeError([(place, f"{where(place)}: {sentence}") for place, sentence in error.problems])


def _line(document: Any, place: Location) -> int:
    """The line (from 1) of the deepest part of `place` that the document has."""
    line = 1
    for part in place:
        try:
            position = document.lc.item(part) if isinstance(part, int) else document.lc.key(part)
            document = document[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
        if position is None:  # in a list with a tag of its own, of which no lines are kept
            break
        line = position[0] + 1
    return line


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
