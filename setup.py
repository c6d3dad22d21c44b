"""What pyproject.toml cannot say: the package holds the recipe of `tfopt demo`, which stands in pipelines/."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DEMO = ("digits.yaml", "digits.py")


class BuildWithDemo(build_py):
    """Copies the recipe and its script; in a checkout and an editable install they are where they stand."""

    def run(self) -> None:
        """Builds the package."""
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "tfopt", "pipelines")
            folder.mkdir(parents=True, exist_ok=True)
            for name in DEMO:
                self.copy_file(str(Path("pipelines", name)), str(folder / name))


setup(cmdclass={"build_py": BuildWithDemo})
