"""The pages of the recipes that a user copies, in a browser: nothing missing, nothing fetched, nothing cut off."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "pipelines"
CHROMIUM = "/usr/bin/chromium"

pytestmark = pytest.mark.slow

# What makes each recipe short, and the settings of data that comes from a folder.
RECIPES = {
    "digits": {
        "epochs: 20": "epochs: 2",
        "max_drop: 0.01": "max_drop: 0.9",
        "benchmark: {}": "benchmark: {seconds: 0.1}",
    },
    "search": {
        "epochs: 20": "epochs: 2",
        "trials: 20": "trials: 4",
        "epochs: [2, 8]": "epochs: [1, 2]",
        "max_drop: 0.05": "max_drop: 0.9",
    },
    "tune": {
        "tuner: hyperband": "tuner: random\n      trials: 4",
        "epochs: 9": "epochs: 1",
        "epochs: 6": "epochs: 1",
        "max_drop: 0.05": "max_drop: 0.9",
    },
    "two_senses": {
        "epochs: 10": "epochs: 1",
        "max_drop: 0.02": "max_drop: 0.9",
        "data: two_senses.py:load": "data: {{two_senses.py:load: {{images: {0}/mnist.npz, sounds: {0}/fsdd.npz}}}}",
    },
    "reviews": {
        "epochs: 12": "epochs: 1",
        "max_drop: 0.02": "max_drop: 0.9",
        "data: reviews.py:load": "data: {{reviews.py:load: {{folder: {0}}}}}",
    },
}
# Sections that the page of each has besides those of every run.
SECTIONS = {
    "digits": {"classes", "curves", "weights"},
    "search": {"classes", "curves", "front"},
    "tune": {"classes", "trials", "weights"},
    "two_senses": {"classes", "curves", "weights"},
    "reviews": {"classes", "curves", "weights"},
}


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    with driver.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Runs a recipe, made short, once, and returns its page."""
    made = {}

    def page(name, data):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            for source in PIPELINES.glob("*.py"):
                shutil.copy(source, folder)
            text = (PIPELINES / f"{name}.yaml").read_text()
            for given, less in RECIPES[name].items():
                assert given in text
                text = text.replace(given, less.format(data) if "{0}" in less else less)
            (folder / "recipe.yaml").write_text(text)
            command = [sys.executable, "-m", "tfopt", "run", "recipe.yaml", "--out", "."]
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=1800)
            assert done.returncode == 0, done.stderr[-3000:]
            made[name] = folder / name / "report.html"
        return made[name]

    return page


@pytest.fixture(params=RECIPES)
def page(request, pages, browser):  # without a browser nothing has to be run
    """The page of one of the recipes."""
    name = request.param
    needed = any("{0}" in less for less in RECIPES[name].values())
    return name, pages(name, request.getfixturevalue("real_data") if needed else None)


# What is asked of a page: visible charts without marks in them, or that stand out of their boxes; and its widths.
LOOK = """() => {
  const shown = [...document.querySelectorAll('svg.chart')].filter(svg => svg.checkVisibility());
  const bad = shown.filter(svg => {
    const box = svg.getBoundingClientRect();
    const marks = [...svg.querySelectorAll('circle, rect, polyline, polygon, path')];
    const drawn = marks.filter(mark => { const b = mark.getBoundingClientRect(); return b.width > 0 || b.height > 0; });
    return box.width < 100 || box.height < 30 || drawn.length === 0;
  });
  const root = document.documentElement;
  return {charts: shown.length, bad: bad.map(svg => svg.getAttribute('aria-label')),
          overflow: root.scrollWidth - root.clientWidth, ground: getComputedStyle(document.body).backgroundColor,
          smallest: Math.min(...shown.flatMap(svg => {
            const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
            return [...svg.querySelectorAll('text')].map(text => parseFloat(getComputedStyle(text).fontSize) * scale);
          })),
          tiles: document.querySelector('.facts').getBoundingClientRect().bottom,
          ids: [...document.querySelectorAll('section')].map(section => section.id)};
}"""


@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_whole_in_a_browser(page, browser, width, scheme, tmp_path):
    name, file = page
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(file.as_uri())
    found = opened.evaluate(LOOK)
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert found["bad"] == []
    assert found["charts"] >= 2
    assert found["overflow"] == 0
    assert set(found["ids"]) >= SECTIONS[name] | {"models", "comparisons", "recipe", "versions"}
    assert found["smallest"] >= 12
    assert found["tiles"] < 800  # on the first screen, a telephone's too
    light = int(found["ground"].removeprefix("rgb(").partition(",")[0]) > 128
    assert light == (scheme == "light")
    assert file.stat().st_size < 2_000_000


def test_a_page_is_reached_by_the_keyboard_and_prints_without_what_scrolls(page, browser, tmp_path):
    _, file = page
    context = browser.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=True)
    opened = context.new_page()
    opened.goto(file.as_uri())
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    assert opened.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    opened.keyboard.press("Enter")
    assert opened.url.endswith("#content")
    opened.emulate_media(media="print")
    hidden = "[...document.querySelectorAll('.tall')].filter(box => box.scrollHeight > box.clientHeight + 1).length"
    assert opened.evaluate(hidden) == 0
    assert opened.evaluate("getComputedStyle(document.querySelector('.skip')).display") == "none"
    # Paper cannot be unfolded; what a chart shows and code are not printed again.
    closed = "[...document.querySelectorAll('section > details')].filter(one => !one.querySelector('pre'))"
    shown = f"{closed}.every(one => one.lastElementChild.checkVisibility())"
    assert opened.evaluate(shown)
    context.close()


def test_a_page_reads_the_same_without_scripts(page, browser):
    _, file = page
    texts = []
    for enabled in (True, False):
        context = browser.new_context(java_script_enabled=enabled)
        opened = context.new_page()
        opened.goto(file.as_uri())
        texts.append(opened.locator("body").inner_text())
        context.close()
    assert texts[0] == texts[1]
    assert len(texts[0]) > 1000
