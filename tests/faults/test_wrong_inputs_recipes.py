"""Recipes that cannot be right: every setting of every stage with every wrong kind of value, and text cut anywhere."""

import json
import random
import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.fork_server import ROOT
from tests.faults.spread import spread
from tfopt.errors import InputError
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.stage import known_stages

SECONDS = 5.0
HEAD = "name: a\nmodel: m.py:build\ndata: digits\nstages:\n  - quantize: {name: first}\n"
VALUES = (
    *("-1", "0", "1.5", "nonsense", "[[[]]]", "{q: {r: 1}}", ".inf", "-.inf", ".nan", "''", "true", "1.0e+400", "[]"),
    *("[1, two]", "99999999999999999999999", "'\\0'", "2026-01-01", "!!binary aGVsbG8=", "!odd value", "~", "{}"),
    *("'a\\nb'", "[~]", "{~: ~}", "{1: 2}", "0x1F", "1_000", "on", "|\n        text", "'../../etc'", "&a [*a]"),
)
NEEDED = {"epochs": "1", "sparsity": "0.5", "clusters": "4", "keep": "0.5", "stages": "[{train: {epochs: 1}}]"}
BUILT_IN = sorted(kind for kind, stage in known_stages().items() if stage.__module__.startswith("tfopt."))


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What a recipe's text is refused with; empty where it is taken. Anything but lines with a place fails."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "r.yaml"

    def load(text):
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        start, lines, code = time.monotonic(), [], InputError.exit_code
        try:
            Recipe.load("r.yaml")
        except InputError as error:
            lines, code = str(error).splitlines() or [""], error.exit_code
        assert code == 2
        assert time.monotonic() - start < SECONDS, text
        assert all(re.match(r"r\.yaml(:\d+)?:? \S", line) for line in lines), f"{text}\n{lines}"
        return lines

    return load


@pytest.mark.parametrize(
    ("kind", "value"),
    # One more by default than there are kinds, so that each is tried with another value.
    spread([(kind, value) for kind in BUILT_IN for value in range(len(VALUES))], len(BUILT_IN) + 1, len(BUILT_IN)),
)
def test_a_wrong_value_of_any_setting_is_told_with_its_place(kind, value, told, evidence):
    fields = known_stages()[kind].model_fields
    needed = {name: NEEDED.get(name, "1") for name, field in fields.items() if field.is_required()}
    problems, said, written = [], [], VALUES[value]
    for field in fields:
        rest = "".join(f"      {name}: {text}\n" for name, text in needed.items() if name != field)
        text = f"{HEAD}  - {kind}:\n{rest}      {field}: {written}\n"
        last = text.count("\n")
        try:
            lines = told(text)
        except Exception as error:
            problems.append(f"{field}: {type(error).__name__}: {error}"[:500])
            continue
        said += lines[:1]
        for line in lines:
            place = re.match(r"r\.yaml:(\d+): ", line)
            if not place or not 6 <= int(place[1]) <= last:
                problems.append(f"{field}: {line}")
    evidence.add("wrong recipe setting", f"{kind}: {written}", problems, len(said), code=2, lines=said)
    assert not problems, "\n".join(problems[:20])


PIPELINES = sorted(ROOT.glob("pipelines/*.yaml"))
PIECES = [
    *"\0\t\n\r {}[]:,-&*!|>%@`'\"#?~",
    "  ",
    ": ",
    "- ",
    "--- ",
    "<<: ",
    "&a ",
    "*a",
    "!!set ",
    "\ufeff",
    "\u2028",
    "é",
    "1e9",
]


def mutated(text, generator):
    """A recipe's text with some of its characters gone, doubled, swapped or put in."""
    characters = list(text)
    for _ in range(generator.randint(1, 4)):
        at, how = generator.randrange(len(characters)), generator.randrange(5)
        if how == 0:
            del characters[at : at + generator.randint(1, 12)]
        elif how == 1:
            characters[at:at] = characters[at : at + generator.randint(1, 40)]
        elif how == 2:
            characters[at] = generator.choice(PIECES)
        elif how == 3:
            characters.insert(at, generator.choice(PIECES))
        else:
            del characters[at:]
        characters = characters or ["a"]
    return "".join(characters)


@pytest.mark.parametrize("file", spread(PIPELINES, 2, 3), ids=lambda file: file.stem)
def test_the_text_of_a_recipe_with_mistakes_of_the_keyboard_is_told_in_lines(file, told, evidence):
    generator, text, count = random.Random(file.name), file.read_text(), 40
    said = [lines[0] for lines in (told(mutated(text, generator)) for _ in range(count)) if lines]
    assert said
    evidence.add("wrong recipe text", file.stem, [], len(said), code=2, lines=said)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "utf-8-sig"])
def test_a_recipe_in_another_encoding_is_taken_or_told(encoding, told, evidence):
    lines = told(f"# ein schönes Rezept\n{HEAD}".encode(encoding))
    evidence.add("wrong recipe encoding", encoding, [], len(lines[:1]), code=2, lines=lines)


WORDS = st.sampled_from(
    ["name", "model", "data", "stages", "train", "prune", "quantize", "epochs", "mode", "int8", "a:b"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)
FIELDS = ["name", "model", "data", "stages", "seed", "use", "metrics", "loss", "runtime", "trust"]
MANY = pytest.mark.parametrize("count", [25, pytest.param(400, marks=pytest.mark.long)])


def of_many(count):
    """Tries so many examples, the same each time."""
    checks = [HealthCheck.function_scoped_fixture]
    return settings(max_examples=count, derandomize=True, deadline=None, suppress_health_check=checks)


@MANY
def test_a_recipe_of_any_values_is_taken_or_told_in_lines(count, told, evidence):
    whole = {"name": "a", "model": "m.py:build", "data": "digits", "stages": ["quantize"]}
    said = []

    @of_many(count)
    @given(changes=st.dictionaries(st.sampled_from(FIELDS), TREES, max_size=3))
    def each(changes):
        said.extend(told(json.dumps({**whole, **changes}, ensure_ascii=False))[:1])

    each()
    evidence.add("wrong recipe values", f"{count} generated", [], len(said), code=2, lines=said)


@MANY
def test_any_document_is_told_in_lines(count, told, evidence):
    said = []

    @of_many(count)
    @given(document=TREES)
    def each(document):
        lines = told(json.dumps(document))
        assert lines
        said.append(lines[0])

    each()
    evidence.add("wrong recipe document", f"{count} generated", [], len(said), code=2, lines=said)
