"""The sources keep the rules of the house, and every rule can be broken.

The second half shows, on trees of a few lines that break one rule each, that the rules can fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.house import (
    PACKAGE,
    RULES,
    House,
    Rule,
    every_module_has_a_place,
    imports_have_no_cycle,
    modules_are_named_by_one_thing,
    modules_say_what_they_do,
    no_file_is_too_long,
    nobody_reaches_what_is_banned,
    read_house,
    rooms_import_only_what_lies_below,
    small_rooms_need_few_packages,
)

SOURCE = Path(__file__).parent.parent / "src"


@pytest.fixture(scope="module")
def house() -> House:
    return read_house(SOURCE)


def test_there_is_a_house(house: House) -> None:
    assert {PACKAGE, "lifesigns.core", "lifesigns.core.errors"} <= set(house.modules)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule: Rule, house: House) -> None:
    complaints = list(rule(house))
    assert not complaints, "\n".join(complaints)


FilesByPath = Mapping[str, str]


def build(folder: Path, files: FilesByPath) -> House:
    for relative, text in files.items():
        path = folder / PACKAGE / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_house(folder)


BROKEN: tuple[tuple[Rule, FilesByPath, str], ...] = (
    (every_module_has_a_place, {"attic/box.py": ""}, "lifesigns.attic.box is in no room"),
    (
        rooms_import_only_what_lies_below,
        {"core/model.py": "from lifesigns.store.link import Link\n"},
        "lifesigns.core.model:1 may not import lifesigns.store.link.Link",
    ),
    (
        rooms_import_only_what_lies_below,
        {"store/store.py": "def f():\n    from lifesigns import hub\n"},
        "lifesigns.store.store:2 may not import lifesigns.hub",
    ),
    (
        rooms_import_only_what_lies_below,
        {"workers/sweeper.py": "from ..web import socket\n"},
        "lifesigns.workers.sweeper:1 may not import lifesigns.web.socket",
    ),
    (
        rooms_import_only_what_lies_below,
        {"web/__init__.py": "from ..cli.main import main\n"},
        "lifesigns.web:1 may not import lifesigns.cli.main.main",
    ),
    (
        rooms_import_only_what_lies_below,
        {"core/model.py": "import lifesigns.core.errors\nlifesigns.web.http.app()\n"},
        "lifesigns.core.model:2 may not import lifesigns.web.http.app",
    ),
    (
        rooms_import_only_what_lies_below,
        {"store/store.py": "from lifesigns.config import Config\n"},
        "lifesigns.store.store:1 may not import lifesigns.config.Config",
    ),
    (
        small_rooms_need_few_packages,
        {"client/client.py": "import websockets\nimport redis.asyncio\n"},
        "lifesigns.client.client:2 may not need redis",
    ),
    (
        nobody_reaches_what_is_banned,
        {"core/model.py": "from time import monotonic\n"},
        "lifesigns.core.model:1 reaches time.monotonic, but",
    ),
    (
        nobody_reaches_what_is_banned,
        {"core/model.py": "import datetime as dt\n\ndt.datetime.now(dt.UTC).isoformat()\n"},
        "lifesigns.core.model:3 reaches datetime.datetime.now, but",
    ),
    (
        nobody_reaches_what_is_banned,
        {"core/model.py": "from datetime import datetime\n\nclock = datetime.now\n"},
        "lifesigns.core.model:3 reaches datetime.datetime.now, but",
    ),
    (
        nobody_reaches_what_is_banned,
        {"core/model.py": "from uuid import uuid4\n"},
        "lifesigns.core.model:1 reaches uuid.uuid4, but",
    ),
    (
        nobody_reaches_what_is_banned,
        {"dialects/base.py": "print(1)\n"},
        "lifesigns.dialects.base:1 reaches builtins.print, but",
    ),
    (
        nobody_reaches_what_is_banned,
        {"cli/main.py": "def f():\n    return os.environ.get('X')\n\nimport os\n"},
        "lifesigns.cli.main:2 reaches os.environ.get, but only config.py",
    ),
    (
        nobody_reaches_what_is_banned,
        {"store/link.py": "from os import getenv\n"},
        "lifesigns.store.link:1 reaches os.getenv, but only config.py",
    ),
    (
        nobody_reaches_what_is_banned,
        {"node.py": "import importlib\nimportlib.import_module('lifesigns.cli')\n"},
        "lifesigns.node:2 reaches importlib.import_module, but",
    ),
    (
        imports_have_no_cycle,
        {
            "core/a.py": "from lifesigns.core.b import x\n",
            "core/b.py": "def f():\n    from lifesigns.core import a\n",
        },
        "lifesigns.core.a imports lifesigns.core.b",
    ),
    (no_file_is_too_long, {"store/lua/beat.lua": "--\n" * 501}, "beat.lua has 501 lines"),
    (modules_are_named_by_one_thing, {"core/text_utils.py": ""}, "core.text_utils has a name"),
    (modules_are_named_by_one_thing, {"web/frames.py": ""}, "lifesigns.web.frames is a plural"),
    (modules_say_what_they_do, {"core/model.py": "x = 1\n"}, "core.model has no docstring"),
)


@pytest.mark.parametrize(("rule", "files", "complaint"), BROKEN)
def test_a_broken_rule_is_told_with_its_place(
    rule: Rule, files: FilesByPath, complaint: str, tmp_path: Path
) -> None:
    assert any(complaint in told for told in rule(build(tmp_path, files)))


def test_every_rule_has_a_tree_that_breaks_it() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(RULES)


def test_a_sound_tree_is_left_alone(tmp_path: Path) -> None:
    house = build(
        tmp_path,
        {
            "__init__.py": '"""Agents beat."""\n\n__version__ = "1"\n',
            "core/model.py": '"""Says os.environ and time.time() in words only."""\n'
            "from datetime import datetime\nfrom uuid import UUID, uuid5\n\n"
            "def decide(now, clock):\n    clock.now()\n    return datetime.fromtimestamp(now)\n",
            "core/access.py": '"""Judges."""\nfrom . import model\n\nmodel.decide(1, 2)\n',
            "core/progress.py": '"""Moves."""\n' + "#\n" * 499,
            "config.py": '"""Reads."""\nimport os\n\nPORT = os.environ.get("PORT")\n',
            "web/http.py": '"""Speaks."""\nimport starlette\nfrom lifesigns import __version__\n'
            "import lifesigns.config\n\nlifesigns.config.PORT\n__version__.upper()\n",
        },
    )
    assert [told for rule in RULES for told in rule(house)] == []
