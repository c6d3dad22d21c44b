"""What the documents name is there: files, anchors, names of Python, benchmarks; and the README stays short."""

import importlib
import inspect
import re

import pytest

import tfopt
from tests.docs.documents import DOCS, DOCUMENTS, README, ROOT, named, prose_of

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+?)\s*(?:\{#([\w-]+)\})?\s*$")
_NAME = re.compile(r"\btfopt\.((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)")
_FILE_ENDINGS = {"yaml", "svg", "png", "json", "md"}
_BENCHMARK = re.compile(r"\bbenchmarks/[\w/]+\.py")
# What looks like a measured figure: a number with decimals, with thousands, or with a unit.
_FIGURE = re.compile(
    r"^[-+~<>≤ ]*(\d+\.\d+|\d{1,3}(,\d{3})+|\d+ ?(x|%|[KM]i?B|B|ms|µs|s|dB|min|minutes|points?)(?!\w))"
)
# As many of them in a table make it one of figures.
FIGURES = 4


def anchors_of(file):
    """The anchors of a document, as GitHub and MkDocs make them of headings."""
    found = set()
    for line in prose_of(file):
        if heading := _HEADING.match(line):
            words = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            found.add(heading[2] or re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", words).strip()))
    return found


def tables_of(file):
    """The tables of a document: the number of the first line, the rows of cells, and the text up to what follows."""
    lines = prose_of(file)
    index = 0
    while index < len(lines):
        if not lines[index].startswith("|"):
            index += 1
            continue
        start = index
        while index < len(lines) and lines[index].startswith("|"):
            index += 1
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 : index]]
        rest = lines[index:]
        end = next((n for n, line in enumerate(rest) if line.startswith(("|", "#"))), len(rest))
        yield start, rows, "\n".join(rest[:end])


def figures_of(rows):
    """The cells of a table, without its first column, that are figures."""
    cells = [re.sub(r"[*`]", "", cell) for row in rows for cell in row[1:]]
    return [cell for cell in cells if _FIGURE.match(cell)]


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 200


def test_links_of_the_readme_lead_to_files_and_anchors():
    wrong = []
    for line in prose_of(README):
        for target in _LINK.findall(line):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            file = ROOT / path if path else README
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors_of(file)):
                wrong.append(target)
    assert not wrong


# What the documents call an object that they make, and the classes of these.
OBJECTS = {
    "aware": ("callbacks.QuantizationAware", "quantization.aware.session.QATSession"),
    "removal": ("sparsity.structured.Removal",),
    "finder": ("callbacks.LearningRateFinder",),
    "log": ("callbacks.SparsityLog",),
    "result": ("Result",),
}


@pytest.mark.parametrize("file", DOCUMENTS, ids=named)
def test_names_of_tfopt_in_a_document_exist(file):
    paths = sorted(set(_NAME.findall(file.read_text())))
    unknown = [path for path in paths if path.rpartition(".")[2] not in _FILE_ENDINGS and not exists(path)]
    assert not unknown


def exists(path):
    """Whether a dotted path is a public object, a module, or the group of entry points of a registry."""
    try:
        return found(path) is not None
    except ImportError:
        return f"tfopt.{path}" in GROUPS


def found(path):
    """The public object of a dotted path, or the module."""
    value = tfopt
    for end, name in enumerate(parts := path.split("."), 1):
        try:
            value = getattr(value, name)
        except AttributeError:
            value = importlib.import_module(".".join(["tfopt", *parts[:end]]))
    return value


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_have_the_attributes_that_the_documents_give_them(name):
    texts = [file.read_text() for file in DOCUMENTS]
    asked = {one for text in texts for one in re.findall(rf"(?<![\w./\"-]){name}\.(\w+)", text)} - {"html", "json"}
    assert asked
    for path in OBJECTS[name]:
        cls = found(path)
        made = re.findall(r"self\.(\w+)", inspect.getsource(cls))
        assert asked <= {*dir(cls), *getattr(cls, "__dataclass_fields__", ()), *made}


def groups():
    """The groups of entry points by which other packages add entries."""
    texts = [file.read_text() for file in (ROOT / "tfopt").rglob("*.py")]
    return {group for text in texts for group in re.findall(r'Registry\(.*"(tfopt\.\w+)"\)', text)}


GROUPS = groups()


@pytest.mark.parametrize("file", DOCUMENTS, ids=named)
def test_benchmarks_that_a_document_names_exist(file):
    assert not [name for name in _BENCHMARK.findall(file.read_text()) if not (ROOT / name).is_file()]


@pytest.mark.parametrize("file", DOCUMENTS, ids=named)
def test_below_a_table_of_figures_stands_the_benchmark_that_took_them(file):
    lines = file.read_text().split("\n")
    without = []
    for start, rows, below in tables_of(file):
        excused = start and lines[start - 1].strip().startswith("<!-- not measured:")
        if len(figures_of(rows)) >= FIGURES and not excused and not _BENCHMARK.search(below):
            without.append(f"{named(file)}:{start + 1}")
    assert not without


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    pages = [file.relative_to(DOCS).as_posix() for file in DOCUMENTS if file != README]
    assert not [page for page in pages if not re.search(rf"(?<![\w/]){re.escape(page)}\b", text)]
