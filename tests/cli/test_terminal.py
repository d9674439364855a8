"""What is shown on a terminal cannot take it over, and lines up."""

from __future__ import annotations

import io

import pytest

from lifesigns.cli.terminal import Look, cells, fit, printable, table


def test_control_characters_are_written_as_escapes() -> None:
    assert printable("a\x1b[2J\r\nb\u202e\u0085") == "a\\x1b[2J\\r\\nb\\u202e\\x85"


def test_words_of_any_language_stay_as_they_are() -> None:
    assert printable("Größe 日本 ✓") == "Größe 日本 ✓"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    shown = table(("id", "name"), [("a", None), ("longer", "x\ny")])
    assert shown == "id      name\na       -\nlonger  x\\ny"


def test_table_without_rows_has_its_titles() -> None:
    assert table(("id", "name"), []) == "id  name"


def test_a_cell_is_what_a_terminal_takes_for_a_character() -> None:
    assert [cells(text) for text in ("abc", "日本", "e\u0301", "")] == [3, 4, 1, 0]
    assert [fit(text, 4) for text in ("a", "日本", "abcde", "日本語")] == [
        "a   ",
        "日本",
        "abc…",
        "日… ",
    ]


def test_a_table_that_is_too_wide_takes_it_from_the_columns_that_give_way() -> None:
    row = ("a-long-name", "b" * 30, "日" * 20)
    shown = table(("id", "task", "what"), [row], width=40, gives_way={"task", "what"})
    title, line = shown.splitlines()
    assert cells(line) <= 40
    assert line.startswith("a-long-name  bbbb")
    assert line.count("…") == 2
    assert title.split() == ["id", "task", "what"]
    # There is an end to giving way: a name is never cut, and a line is rather broken.
    assert row[0] in table(("id", "task", "what"), [row], width=5, gives_way={"task"})


def test_colours_are_for_terminals_whose_user_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "72")
    assert Look.of(Terminal()) == Look(colours=True, width=72)
    assert Look.of(Terminal()).paint("x", "error") == "\x1b[31mx\x1b[0m"
    assert Look.of(io.StringIO()) == Look()
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert Look.of(Terminal()).paint("x", "error") == "x"
