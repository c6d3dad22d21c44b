"""A page as its parser sees it: elements with their attributes and text, and the rules that every page keeps to."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

EMPTY = {"meta", "link", "img", "br", "input", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    children: list = field(default_factory=list)

    def find(self, tag=None, **attributes):
        """Every element below of a tag and with attributes, in their order."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if tag in (None, child.tag) and wanted.items() <= child.attributes.items():
                    found.append(child)
                found += child.find(tag, **attributes)
        return found

    @property
    def text(self):
        """The text below, with single spaces."""
        words = (child.text if isinstance(child, Element) else child for child in self.children)
        return " ".join(" ".join(words).split())


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = Element("")
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        made = Element(tag, dict(attrs))
        self.open[-1].children.append(made)
        if tag not in EMPTY:
            self.open.append(made)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parse(text):
    """The root of a page; fails where an element is not closed by its own end."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, [element.tag for element in reader.open]
    return reader.root


def check(text):
    """Checks what every page keeps to, and returns its root."""
    root = parse(text)
    assert text.lstrip().lower().startswith("<!doctype html>")
    [html] = root.find("html")
    assert html.attributes["lang"] == "en"
    assert root.find("title")[0].text
    assert root.find("meta", name="viewport")
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert not root.find("script")
    for element in root.find():
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            fetched = name in ("src", "href", "srcset", "data", "xlink:href")
            assert not (fetched and re.match(r"(https?:)?//", value or "")), (element.tag, value)
    assert not re.search(r"url\(|@import", root.find("style")[0].text)
    _check_headings(root)
    _check_links(root)
    _check_reading(root)
    return root


def _check_headings(root):
    levels = [int(element.tag[1]) for element in root.find() if re.fullmatch("h[1-6]", element.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels


def _check_links(root):
    names = [element.attributes["id"] for element in root.find() if "id" in element.attributes]
    assert len(names) == len(set(names))
    anchors = [link.attributes["href"] for link in root.find("a") if link.attributes["href"].startswith("#")]
    assert {anchor.removeprefix("#") for anchor in anchors} <= set(names)
    assert root.find("a", class_="skip")


def _check_reading(root):
    """Pictures have a name, tables have heads, and whatever scrolls can be reached by the keyboard."""
    for svg in root.find("svg", class_="chart"):
        assert svg.attributes["role"] == "img"
        assert svg.attributes["aria-label"]
    for image in root.find("img"):
        assert image.attributes["alt"]
    for table in root.find("table"):
        assert all(head.attributes["scope"] in ("col", "row") for head in table.find("th"))
    for box in root.find("div", class_="scroll") + root.find("div", class_="scroll tall"):
        assert box.attributes["tabindex"] == "0"
        assert box.attributes["aria-label"]
