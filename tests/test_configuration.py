"""docs/configuration.md tells every setting as the fields have it.

Run as a program, this file writes the page's tables anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lifesigns.cli.main import EXIT_CODES
from lifesigns.config import NOT_ABOVE, ClientConfig, Config, SpeakerConfig
from lifesigns.setting import Setting, settings

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
TITLES = ("flag", "variable", "takes", "default", "what it is, and why that default")
UNITS = ("_s", "_ms", "_bytes")
# Settings whose numbers count things, or that hold no number.
COUNTS = {"port", "workers", "history_len", "deliveries_len", "diary_len", "metadata_depth"}
COUNTS |= {"max_connections", "max_instances"}


def row(each: Setting) -> str:
    cells = (
        "<br>".join(f"`{option}`" for option in each.options()),
        "<br>".join(f"`{variable}`" for variable in each.variables()),
        each.kind.takes,
        each.default if " " in each.default or each.default == "none" else f"`{each.default}`",
        each.doc,
    )
    return f"| {' | '.join(cells)} |"


def render(of: type) -> str:
    head = f"| {' | '.join(TITLES)} |\n{'|---' * len(TITLES)}|\n"
    return head + "".join(f"{row(each)}\n" for each in settings(of))


def region(of: type) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {of.__name__} -->\n)(.*?)(<!-- end -->)", re.DOTALL)


@pytest.mark.parametrize("of", [Config, ClientConfig, SpeakerConfig])
def test_page_has_every_setting_as_its_field_has_it(of: type) -> None:
    found = region(of).search(PAGE.read_text("utf-8"))
    assert found is not None
    assert found[2] == render(of), f"write it anew: PYTHONPATH=src python {__file__}"


@pytest.mark.parametrize("of", [Config, ClientConfig, SpeakerConfig])
def test_every_setting_says_why_in_one_line(of: type) -> None:
    for each in settings(of):
        assert 20 <= len(each.doc) <= 100, each.name
        assert "\n" not in each.doc
        assert "|" not in each.doc


def test_every_number_has_its_unit_in_its_name() -> None:
    numbers = {each.name for each in settings(Config) if "number" in each.kind.takes} - COUNTS
    assert [name for name in numbers if not name.endswith(UNITS)] == []


def test_every_default_is_a_text_that_its_setting_takes() -> None:
    config = Config()
    for each in settings(Config):
        if each.default != "none" and each.name != "data_dir":
            assert each.kind.read(each.default) == getattr(config, each.name)


def test_settings_that_have_to_agree_are_settings_of_one_unit() -> None:
    names = {each.name for each in settings(Config)}
    for low, high, _ in NOT_ABOVE:
        assert {low, high} <= names
        assert low.rpartition("_")[2] == high.rpartition("_")[2]


def test_page_has_the_exit_codes_that_the_command_prints() -> None:
    page = PAGE.read_text("utf-8")
    for code, meaning in re.findall(r"^  ([0-9]+) +(.+)$", EXIT_CODES, re.MULTILINE):
        assert f"| {code} | {meaning} |" in page


def write() -> None:
    page = PAGE.read_text("utf-8")
    for of in (Config, ClientConfig, SpeakerConfig):
        head, table, tail = region(of).split(page)[1:4]
        page = page.replace(head + table + tail, head + render(of) + tail)
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    write()
