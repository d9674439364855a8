"""One version: the package's, the project's and the newest of the changelog are the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import lifesigns

ROOT = Path(__file__).parent.parent


def test_package_and_project_say_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert lifesigns.__version__ == project["version"]


def test_changelog_has_the_version_as_its_newest_below_unreleased() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert headings[:2] == ["Unreleased", lifesigns.__version__]
