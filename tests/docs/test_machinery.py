"""What tests the documents finds their mistakes: the blocks, the recipes, the commands, the tables."""

import pytest

from tests.docs import commands, recipes
from tests.docs.documents import Block, blocks_of, prose_of
from tests.docs.test_documents import anchors_of, figures_of, tables_of

PAGE = """# A page
<!-- not run: needs a cluster -->
```sh
srun tfopt
```

- a list

  <!-- slow -->
  ```python
  x = 1
    # deeper
  ```

````text
```yaml
inside
```
````

<!-- not run -->
```yaml
a: 1
```

```brainfuck
+
```

```sh
ls
```
"""


@pytest.fixture
def page(tmp_path):
    def write(text):
        file = tmp_path / "page.md"
        file.write_text(text)
        return file

    return write


def block(text, language="yaml", comment=""):
    return Block(commands.ROOT / "docs" / "page.md", 7, language, text, comment)


def test_blocks_have_their_language_their_text_and_their_comment(page):
    found = blocks_of(page(PAGE))
    assert [one.language for one in found] == ["sh", "python", "text", "yaml", "brainfuck", "sh"]
    assert [one.line for one in found][:3] == [3, 10, 15]
    assert found[0].reason == "needs a cluster"
    assert found[1].text == "x = 1\n  # deeper"
    assert found[2].text == "```yaml\ninside\n```"
    assert [one.treatment for one in found] == ["skipped", "run", "output", "", "", "run"]
    assert [one.slow for one in found] == [False, True, False, False, False, False]


def test_a_block_without_an_end_is_a_mistake(page):
    with pytest.raises(ValueError, match=r"page\.md:3 has a block without an end"):
        blocks_of(page("a\n\n```yaml\nname: x\n"))


@pytest.mark.parametrize(
    "text",
    [
        "name: x\nmodel: a.py:f\ndata: digits\nstages: [{train: {epochs: 1}}]",
        "seed: 3",
        "prune: {sparsity: 0.5, epochs: 1}",
        "- cluster: {clusters: 8, epochs: 1, distill: {teacher: train}}\n- quantize",
        "- quantize: {mode: int8}\n- prune: {sparsity: 0.5, epochs: 1}\n- verify: {max_drop: 0.1}",
    ],
    ids=["a recipe", "a field", "a stage", "stages", "alternatives"],
)
def test_recipes_and_parts_of_them_are_validated(text, tmp_path):
    recipes.validate(block(text), tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nstages: [{prune: {sparsity: 1.5, epochs: 1}}]", "sparsity"),
        ("loss_function: mse", "loss_function"),
        ("prune: {sparsety: 0.5, epochs: 1}", "sparsety"),
        ("- quantize: {mode: int8}\n- prune: {sparsity: 2, epochs: 1}", "sparsity"),
        ("just a word", "neither a recipe"),
    ],
    ids=["a value", "a field", "a setting", "an alternative", "no recipe"],
)
def test_a_recipe_that_cannot_run_is_found(text, said, tmp_path):
    with pytest.raises((AssertionError, ValueError), match=f"page.md:7.*{said}"):
        recipes.validate(block(text), tmp_path)


def test_comments_variables_and_continued_lines_are_no_words_of_commands():
    text = "A=b tfopt run x.yaml \\\n  --quiet   # a comment\n# only a comment\nmake demo && make test\n"
    assert list(commands.commands_of(block(text, "sh"))) == [
        ["tfopt", "run", "x.yaml", "--quiet"],
        ["make", "demo"],
        ["make", "test"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "tfopt run x.yaml --fast",
        "tfopt walk",
        "tfopt --fast",
        "rm -rf x",
        "make nothing",
        "pip install 'tfopt[x]'",
        "python a.py",
    ],
)
def test_a_command_that_does_not_exist_is_found(text, tmp_path):
    with pytest.raises(AssertionError, match=r"page\.md:7"):
        commands.parse(block(text, "sh"), tmp_path)


def test_commands_that_exist_pass(tmp_path):
    text = "tfopt convert m.keras --mode int8 > out.txt\ntfopt --version\nmake demo\npip install '.[tflm,ethos-u]'\n"
    commands.parse(block(f"{text}python benchmarks/pruning_step.py\n", "sh"), tmp_path)


def test_exit_codes_are_compared_and_output_goes_to_files(tmp_path):
    calls = []

    def tfopt(words):
        calls.append(words)
        return (3, "", "too bad") if words[0] == "run" else (0, "printed", "")

    commands.run(block("tfopt schema > s.json\ntfopt run a.yaml", "sh", "exit 3"), tfopt, tmp_path)
    assert calls == [["schema"], ["run", "a.yaml"]]
    assert (tmp_path / "s.json").read_text() == "printed"
    with pytest.raises(AssertionError, match=r"page\.md:7: tfopt run a\.yaml ends with 3:\ntoo bad"):
        commands.run(block("tfopt run a.yaml", "sh"), tfopt, tmp_path)


def test_python_runs_in_one_namespace_and_its_errors_have_the_line_of_the_page(tmp_path):
    namespace = {}
    commands.run_python(block("# own/stages.py\nx = 1", "python"), namespace, tmp_path)
    assert (tmp_path / "own" / "stages.py").read_text() == "# own/stages.py\nx = 1\n"
    with pytest.raises(ZeroDivisionError) as caught:
        commands.run_python(block("x += 1\n\nx / 0", "python"), namespace, tmp_path)
    assert namespace["x"] == 2
    assert caught.traceback[-1].lineno + 1 == 7 + 3


def test_tables_of_figures_are_told_from_others(page):
    text = (
        "# T\n\n| a | b | c |\n|---|---|---|\n| x | 1,234 B | **0.98** |\n| y | 3x | 12 ms |\n\nBy `benchmarks/a.py`.\n"
    )
    file = page(f"{text}\n## U `v` {{#own}}\n\n| a | b |\n|---|---|\n| 0 | done |\n")
    (start, rows, below), (_, others, _) = tables_of(file)
    assert start == 2
    assert figures_of(rows) == ["1,234 B", "0.98", "3x", "12 ms"]
    assert "benchmarks/a.py" in below
    assert figures_of(others) == []
    assert anchors_of(file) == {"t", "own"}
    assert anchors_of(page("## The *first* `--word`, and [a link](b.md)\n")) == {"the-first---word-and-a-link"}


def test_prose_is_what_stands_outside_of_blocks(page):
    assert prose_of(page("a\n```text\n# no heading\n```\nb")) == ["a", "", "", "", "b"]
