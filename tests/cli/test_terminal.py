"""What is shown on a terminal cannot take it over, and lines up."""

from __future__ import annotations

from lifesigns.cli.terminal import printable, table


def test_control_characters_are_written_as_escapes() -> None:
    assert printable("a\x1b[2J\r\nb\u202e\u0085") == "a\\x1b[2J\\r\\nb\\u202e\\x85"


def test_words_of_any_language_stay_as_they_are() -> None:
    assert printable("Größe 日本 ✓") == "Größe 日本 ✓"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    shown = table(("id", "name"), [("a", None), ("longer", "x\ny")])
    assert shown == "id      name\na       -\nlonger  x\\ny"


def test_table_without_rows_has_its_titles() -> None:
    assert table(("id", "name"), []) == "id  name"
