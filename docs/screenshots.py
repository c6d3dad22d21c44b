"""Takes a picture of a report, as a browser shows it.

That of the README, and that of a recipe in the cookbook, from the root of the repository, after `tfopt run`:

    python docs/screenshots.py saved_models/digits/report.html docs/assets/report.png
    python docs/screenshots.py saved_models/search/report.html docs/assets/cookbook/search.png --section front

Needs `pip install playwright` and `/usr/bin/chromium`.
"""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
WIDTH, HEIGHT, MARGIN = 1000, 1070, 24


def take(page: Path, picture: Path, section: str | None, height: int) -> None:
    """Writes a picture of a report: its first screen, or one of its sections.

    Args:
        page: The report.
        picture: The PNG to write.
        section: The id of the section, such as `curves`; the first screen if None.
        height: Of the screen, in pixels.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme="light")
        opened.goto(page.resolve().as_uri())
        picture.parent.mkdir(parents=True, exist_ok=True)
        if section:
            box = opened.locator(f"section#{section}").bounding_box()
            clip = {"x": 0, "y": box["y"], "width": WIDTH, "height": box["height"] + MARGIN}
            opened.screenshot(path=picture, full_page=True, clip=clip)
        else:
            opened.screenshot(path=picture)
        browser.close()


def main() -> None:
    """Reads the arguments, and takes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="a report.html")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    parser.add_argument("--section", help="the id of a section, such as curves, in place of the first screen")
    parser.add_argument("--height", type=int, default=HEIGHT, help="pixels of the screen")
    asked = parser.parse_args()
    take(asked.page, asked.picture, asked.section, asked.height)


if __name__ == "__main__":
    main()
