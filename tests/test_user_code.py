"""References to a user's code."""

import functools
import json
import sys
from pathlib import Path

import pytest

from tfopt.errors import InputError
from tfopt.user_code import Ref, describe, digest_callable, digest_sources, find_file, import_file


@pytest.fixture(autouse=True)
def forgotten(tmp_path):
    """Takes what a test imported from its folder out of the process again."""
    path = list(sys.path)
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
    assert sys.path == path


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_file_is_looked_for_beside_the_recipe_first(write, tmp_path, monkeypatch):
    write("here/x.py", "")
    beside = write("recipes/x.py", "")
    monkeypatch.chdir(tmp_path / "here")
    assert find_file("x.py", tmp_path / "recipes") == beside


def test_a_file_is_then_looked_for_from_the_working_directory(write, tmp_path, monkeypatch):
    here = write("here/x.py", "")
    monkeypatch.chdir(tmp_path / "here")
    assert find_file("x.py", tmp_path / "recipes") == here


def test_an_absolute_path_is_taken_as_it_is(write, tmp_path):
    path = write("x.py", "")
    assert find_file(str(path), tmp_path / "elsewhere") == path


def test_a_missing_file_names_both_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        find_file("x.py", tmp_path / "recipes")
    assert str(tmp_path / "recipes" / "x.py") in str(caught.value)
    assert str(tmp_path / "x.py") in str(caught.value)


def test_one_place_is_named_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        find_file("x.py", Path("."))
    assert " and " not in str(caught.value)


def test_a_function_in_a_file_is_called(write, tmp_path):
    write("m.py", "def build(a, b=2):\n    return a + b\n")
    ref = Ref.parse("m.py:build", tmp_path)
    assert ref.call(1) == 3
    assert str(ref) == f"{tmp_path / 'm.py'}:build"


def test_a_function_in_a_module_is_called(tmp_path):
    assert Ref.parse("os.path:basename", tmp_path).call("a/b") == "b"


def test_a_module_may_lie_in_the_working_directory(write, tmp_path, monkeypatch):
    write("own_package_a/__init__.py", "")
    write("own_package_a/inner.py", "def build():\n    return 7\n")
    monkeypatch.chdir(tmp_path)
    assert Ref.parse("own_package_a.inner:build", Path("elsewhere")).call() == 7


@pytest.mark.parametrize(
    "text", ["build", "m.py", ":build", "m.py:", "m.py:two words", "m.py:a..b", "", "a/b:build", "3:f"]
)
def test_what_is_no_reference_is_refused_with_the_way_to_write_one(text, tmp_path):
    with pytest.raises(InputError) as caught:
        Ref.parse(text, tmp_path)
    assert f"Received: {text!r}" in str(caught.value)


def test_a_missing_name_in_a_file_gets_the_nearest_one(write, tmp_path):
    write("m.py", "def build(): pass\n")
    with pytest.raises(InputError, match=r"m\.py has no 'biuld'. Did you mean 'build'\?"):
        Ref.parse("m.py:biuld", tmp_path).load()


def test_a_missing_name_in_a_module_gets_the_nearest_one(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'basename'"):
        Ref.parse("os.path:basenam", tmp_path).load()


@pytest.mark.parametrize("use", [Ref.load, Ref.digest], ids=["load", "digest"])
@pytest.mark.parametrize("module", ["no_such_module", "no_such_package.module", "json.no_such_module"])
def test_a_module_that_is_not_there_is_named(use, module, tmp_path):
    with pytest.raises(InputError, match=r"no_such_\w+") as caught:
        use(Ref.parse(f"{module}:f", tmp_path))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\nimport no_such_module_b\n", ["ModuleNotFoundError", "no_such_module_b", "broken.py:2"]),
        ("x = 1\n\n1 / 0\n", ["ZeroDivisionError", "broken.py:3"]),
        ("def f(:\n", ["SyntaxError", "broken.py", "line 1"]),
        ("def f():\n    raise ValueError('one\\ntwo')\n\nf()\n", ["ValueError: one", "broken.py:2"]),
        ("import json\njson.loads('{')\n", ["JSONDecodeError", "broken.py:2"]),
    ],
    ids=["import", "error", "syntax", "two lines", "inside the standard library"],
)
def test_a_file_that_does_not_import_shows_the_original_error_and_its_line(write, code, words):
    with pytest.raises(InputError) as caught:
        import_file(write("broken.py", code))
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_did_not_import_can_be_mended_and_imported(write):
    path = write("broken.py", "1 / 0\n")
    with pytest.raises(InputError):
        import_file(path)
    path.write_text("mended = True\n")
    assert import_file(path).mended


def test_a_function_that_raises_is_named_with_the_error_and_the_line(write, tmp_path):
    write("m.py", "def build():\n    x = 1\n    raise KeyError('gone')\n")
    with pytest.raises(InputError) as caught:
        Ref.parse("m.py:build", tmp_path).call()
    assert "m.py:build failed: KeyError: 'gone'" in str(caught.value)
    assert "m.py:3" in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)


def test_what_is_no_function_is_not_called(write, tmp_path):
    write("m.py", "build = 3\n")
    with pytest.raises(InputError, match=r"is not a function. Received: int"):
        Ref.parse("m.py:build", tmp_path).call()


def test_a_file_is_imported_once(write):
    path = write("once.py", "value = object()\n")
    assert import_file(path).value is import_file(path).value


def test_a_file_may_import_the_files_beside_it(write):
    write("sibling_a.py", "value = 3\n")
    assert import_file(write("m.py", "from sibling_a import value\n")).value == 3


def test_a_function_may_import_the_files_beside_it_when_it_is_called(write, tmp_path):
    write("sibling_b.py", "value = 4\n")
    write("m.py", "def build():\n    import sibling_b\n    return sibling_b.value\n")
    assert Ref.parse("m.py:build", tmp_path).call() == 4


def test_a_file_named_like_a_standard_module_is_itself_and_replaces_nothing(write):
    mine = import_file(write("json.py", "mine = True\n"))
    assert mine.mine
    assert sys.modules["json"] is json
    assert json.loads("3") == 3


def test_two_files_of_one_name_are_two_modules(write):
    first = import_file(write("a/model.py", "value = 1\n"))
    second = import_file(write("b/model.py", "value = 2\n"))
    assert (first.value, second.value) == (1, 2)
    assert sys.modules[second.__name__] is second


@pytest.fixture
def project(write):
    """A model file with a file that it imports, one that this imports, and one that nobody imports."""
    write("deep.py", "width = 1\n")
    write("layers_of_mine.py", "import os\nfrom deep import width\n")
    write("package/__init__.py", "")
    write("package/part.py", "size = 1\n")
    write("stranger.py", "1 / 0\n")
    return write("model.py", "import numpy\nimport layers_of_mine\nfrom package import part\ndef build(): pass\n")


def test_a_digest_stays_while_nothing_changes(project):
    assert digest_sources(project) == digest_sources(project)


@pytest.mark.parametrize("name", ["model.py", "layers_of_mine.py", "deep.py", "package/part.py", "package/__init__.py"])
def test_a_digest_changes_with_the_file_and_all_that_it_imports_beside_it(project, name):
    before = digest_sources(project)
    path = project.parent / name
    path.write_text(path.read_text() + "changed = True\n")
    assert digest_sources(project) != before


@pytest.mark.parametrize("name", ["stranger.py", "notes.txt", "package/other.py"])
def test_a_digest_does_not_change_with_files_that_are_not_imported(project, name):
    before = digest_sources(project)
    (project.parent / name).write_text("something = 'else'\n")
    assert digest_sources(project) == before


def test_a_digest_does_not_depend_on_where_the_project_lies(project, tmp_path):
    before = digest_sources(project)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in list(project.parent.rglob("*.py")):
        target = copy / path.relative_to(project.parent)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    assert digest_sources(copy / "model.py") == before


def test_files_that_import_each_other_have_a_digest(write):
    write("ring_b.py", "import ring_a\n")
    path = write("ring_a.py", "import ring_b\n")
    before = digest_sources(path)
    write("ring_b.py", "import ring_a\nx = 1\n")
    assert digest_sources(path) != before


def test_a_file_with_a_syntax_error_has_a_digest(write):
    assert digest_sources(write("m.py", "def f(:\n")) != digest_sources(write("n.py", "def g(:\n"))


def test_two_functions_of_one_file_have_two_digests(write, tmp_path):
    write("m.py", "def a(): pass\ndef b(): pass\n")
    assert Ref.parse("m.py:a", tmp_path).digest() != Ref.parse("m.py:b", tmp_path).digest()


@pytest.mark.parametrize(
    "statement",
    ["from . import layers", "from .layers import size", "from own_package_c.layers import size"],
)
def test_the_digest_of_a_module_in_a_package_changes_with_what_it_imports_there(
    write, tmp_path, monkeypatch, statement
):
    write("own_package_c/__init__.py", "")
    write("own_package_c/model.py", f"{statement}\ndef build(): pass\n")
    layers = write("own_package_c/layers.py", "size = 1\n")
    monkeypatch.chdir(tmp_path)
    ref = Ref.parse("own_package_c.model:build", tmp_path)
    before = ref.digest()
    layers.write_text("size = 2\n")
    assert ref.digest() != before


def test_a_function_object_is_digested_with_its_file(write):
    path = write("m.py", "import other_d\ndef build(): pass\n")
    write("other_d.py", "x = 1\n")
    function = import_file(path).build
    before = digest_callable(function)
    write("other_d.py", "x = 2\n")
    assert digest_callable(function) != before


def test_functions_made_on_the_fly_are_digested_by_their_code():
    def one(x=1):
        return x

    def other(x=1):
        return x + 1

    assert digest_callable(one) == digest_callable(one)
    assert digest_callable(one) != digest_callable(other)


def test_functions_without_a_source_are_digested_by_their_bytecode():
    def made(expression):
        return eval(f"lambda x: {expression}")

    assert digest_callable(made("x + x")) == digest_callable(made("x + x"))
    assert digest_callable(made("x + x")) != digest_callable(made("x * x"))


def test_constants_count_in_functions_without_a_source():
    def made(expression):
        return eval(f"lambda x: {expression}")

    assert digest_callable(made("x + 1.5")) != digest_callable(made("x + 2.5"))


def test_defaults_count_in_functions_made_on_the_fly():
    def make(size):
        def build(size=size):
            return size

        return build

    assert digest_callable(make(1)) != digest_callable(make(2))


def test_variables_of_the_function_around_count_in_functions_made_on_the_fly():
    def make(size):
        def build():
            return size

        return build

    assert digest_callable(make(1)) != digest_callable(make(2))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (ValueError(), "ValueError: no message"),
        (KeyError("x"), "KeyError: 'x'"),
        (
            ValueError("Graph execution error:\n\nat node\nno such thing\n\t [[{{node a}}]] [Op:f]"),
            "ValueError: no such thing",
        ),
    ],
)
def test_an_error_is_described_in_one_line(error, text):
    assert describe(error) == text


def test_the_digest_of_a_partial_is_its_functions_and_arguments():
    def build(width):
        return width

    digests = [digest_callable(functools.partial(build, width)) for width in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_the_digest_of_a_method_counts_its_object():
    class Maker:
        def __init__(self, width):
            self.width = width

        def make(self):
            return self.width

    digests = [digest_callable(Maker(width).make) for width in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_the_digest_of_a_function_without_a_file_counts_the_globals_it_uses():
    digests = []
    for width in (1, 1, 2):
        space = {"width": width}
        exec("def build():\n    return width", space)
        digests.append(digest_callable(space["build"]))
    assert digests[0] == digests[1] != digests[2]


def test_files_of_the_same_name_in_two_projects_are_each_projects_own(tmp_path):
    for number in (1, 2):
        folder = tmp_path / f"project{number}"
        folder.mkdir()
        (folder / "shared_helper.py").write_text(f"value = {number}\n")
        (folder / f"main{number}.py").write_text("import shared_helper\ndef build():\n    return shared_helper.value\n")
    built = [Ref(tmp_path / f"project{n}" / f"main{n}.py", "build").call() for n in (1, 2)]
    assert built == [1, 2]


# Arguments


def test_a_function_gets_the_arguments_that_stand_beside_it(write, tmp_path):
    write("m.py", "def build(size, shape=None):\n    return size, shape\n")
    ref = Ref.parse({"m.py:build": {"size": 3, "shape": [8, 8, 1]}}, tmp_path)
    assert ref.call() == (3, (8, 8, 1))
    assert Ref.parse({"m.py:build": None}, tmp_path).arguments == {}


def test_arguments_belong_to_the_digest(write, tmp_path):
    write("m.py", "def build(size):\n    return size\n")
    digests = {Ref.parse({"m.py:build": {"size": size}}, tmp_path).digest() for size in (3, 4, 3)}
    assert len(digests) == 2


def test_a_dotted_name_leads_into_a_class(write, tmp_path):
    write("m.py", "class Net:\n    @classmethod\n    def from_preset(cls, name):\n        return name\n")
    assert Ref.parse({"m.py:Net.from_preset": {"name": "small"}}, tmp_path).call() == "small"


@pytest.mark.parametrize("call", [{"m.py:build": 3}, {"m.py:build": {}, "m.py:other": {}}, {}])
def test_arguments_are_named(call, tmp_path):
    with pytest.raises(InputError, match=r"is written \{file.py:function: \{argument: value\}\}"):
        Ref.parse(call, tmp_path)


@pytest.mark.parametrize(
    "line", ["import sys; sys.exit(0)", "import argparse; argparse.ArgumentParser().parse_args(['--x'])"]
)
def test_a_script_that_exits_as_it_is_imported_is_told_and_ends_nothing(write, line, monkeypatch, tmp_path):
    file = write("script.py", f"{line}\n\ndef build():\n    pass\n")
    with pytest.raises(InputError, match=r"script.py does not import: SystemExit"):
        Ref.parse("script.py:build", tmp_path).load()
    monkeypatch.syspath_prepend(str(file.parent))
    with pytest.raises(InputError, match=r"module 'script' does not import: SystemExit"):
        Ref("script", "build").load()
