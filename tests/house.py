"""The rules of the house, as data and as functions from a house to its complaints.

A house is what the sources say of themselves: every module under src with all that it reaches for.
Nothing is imported to find that out, so a module that does not run can be judged too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = "lifesigns"

# Who may import whom. A room is a package or a module right under src/lifesigns; the package's own
# __init__ is the room "lifesigns". What is not named here has no place in the house.
INNER = frozenset({"core"})
MIDDLE = INNER | {"store", "hub", "dialects", "setting", "config"}
ROOMS: Mapping[str, frozenset[str]] = {
    "core": frozenset(),
    "store": INNER,
    "hub": INNER,
    "dialects": INNER,
    "client": INNER | {"config"},
    "kind": frozenset(),
    "setting": INNER | {"kind"},
    "config": INNER | {"kind", "setting"},
    "workers": MIDDLE | {PACKAGE},
    "web": MIDDLE | {PACKAGE, "workers"},
    "node": MIDDLE | {PACKAGE, "workers", "web"},
    "cli": MIDDLE | {PACKAGE, "workers", "web", "node", "client"},
    "__main__": frozenset({"cli"}),
    "sync": frozenset({"client"}),
    "pulse": frozenset({"client"}),
    PACKAGE: INNER | {"client"},
}

# Rooms that run on the base install or on less. The standard library is open to all.
FOREIGN: Mapping[str, frozenset[str]] = {
    "core": frozenset({"msgpack"}),
    "dialects": frozenset(),
    "client": frozenset({"msgpack", "websockets"}),
    "kind": frozenset(),
    "setting": frozenset(),
    "config": frozenset(),
    "sync": frozenset(),
    "pulse": frozenset(),
    PACKAGE: frozenset(),
}


@dataclass(frozen=True)
class Ban:
    """Names that must not be reached: in these rooms only, or in all but the excepted ones."""

    why: str
    names: frozenset[str]
    rooms: frozenset[str] = frozenset(ROOMS)
    but: frozenset[str] = frozenset()


CLOCKS = frozenset({"asyncio", "sched", "time"}) | {
    f"datetime.{call}"
    for call in ("date.today", "datetime.now", "datetime.today", "datetime.utcnow")
}
CHANCE = frozenset({"random", "secrets", "uuid.getnode", "uuid.uuid1", "uuid.uuid4"})
NETWORK = frozenset(
    {"http", "select", "selectors", "socket", "socketserver", "ssl", "urllib.request"}
)
MACHINE = frozenset({"fcntl", "os", "platform", "signal", "subprocess", "sys"})
THREADS = frozenset({"concurrent", "multiprocessing", "queue", "threading"})
FILES = frozenset({"glob", "io", "logging", "pathlib", "shutil", "sqlite3", "tempfile"})
CONSOLE = frozenset({"builtins.input", "builtins.open", "builtins.print"})
ENVIRONMENT = frozenset({"os.path.expandvars"}) | {
    f"os.{name}" for name in ("environ", "environb", "getenv", "getenvb", "putenv", "unsetenv")
}
BANS = (
    Ban(
        "the room decides without clock, chance or I/O",
        CLOCKS | CHANCE | NETWORK | MACHINE | THREADS | FILES | CONSOLE,
        rooms=frozenset({"core", "dialects"}),
    ),
    Ban("only config.py reads the environment", ENVIRONMENT, but=frozenset({"config"})),
    Ban(
        "an import has to stand in an import statement, or nobody can follow it",
        frozenset({"builtins.__import__", "importlib.__import__", "importlib.import_module"}),
    ),
)

LINES_AT_MOST = 500
TEXT_SUFFIXES = frozenset({".css", ".html", ".js", ".lua", ".py", ".pyi"})

# Words that say where the author had no idea. Plurals are for rooms, and for modules that hold
# one table of many things. The last is a product's own name.
EMPTY_WORDS = frozenset(
    {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
)
PLURALS = frozenset({"dialects", "workers", "errors", "keys", "news", "stats", "moltjobs"})
SINGULAR_ENDINGS = ("ss", "us", "is")
SHORTEST_PLURAL = 4


@dataclass(frozen=True)
class Module:
    """One module, with the full name and the line of everything that it reaches for."""

    name: str
    tree: ast.Module
    reached: tuple[tuple[str, int], ...]

    @property
    def room(self) -> str:
        return room_of(self.name) or self.name.split(".")[1]


@dataclass(frozen=True)
class House:
    source: Path
    modules: Mapping[str, Module]


def room_of(name: str) -> str | None:
    """Name the room that a full name lies in; None for a place that the house does not know."""
    parts = name.split(".")
    return PACKAGE if len(parts) == 1 else parts[1] if parts[1] in ROOMS else None


class Reach(ast.NodeVisitor):
    """Collects full dotted names: imports anywhere in the module, and what is used of them."""

    def __init__(self, package: str) -> None:
        self.package = package.split(".")
        self.bound: dict[str, str] = {}
        self.found: list[tuple[str, int]] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.found.append((alias.name, node.lineno))
            top = alias.name.split(".")[0]
            self.bound[alias.asname or top] = alias.name if alias.asname else top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.package[: len(self.package) - node.level + 1] if node.level else []
        base = [*above, *([node.module] if node.module else [])]
        for alias in node.names:
            name = ".".join(base if alias.name == "*" else [*base, alias.name])
            self.found.append((name, node.lineno))
            self.bound[alias.asname or alias.name] = name

    def visit_Name(self, node: ast.Name) -> None:
        self.use(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not self.use(node):
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id not in self.bound:
            self.found.append((f"builtins.{node.func.id}", node.lineno))
        self.generic_visit(node)

    def use(self, node: ast.Name | ast.Attribute) -> bool:
        attributes: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            attributes.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name) or inner.id not in self.bound:
            return False
        full = ".".join([self.bound[inner.id], *reversed(attributes)])
        self.found.append((full, node.lineno))
        return True


def read_house(source: Path) -> House:
    modules = {}
    for path in sorted((source / PACKAGE).rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        reach = Reach(name if is_package else name.rpartition(".")[0])
        # Twice: a name may be used in a function above the line that imports it.
        reach.visit(tree)
        reach.found.clear()
        reach.visit(tree)
        modules[name] = Module(name, tree, tuple(dict.fromkeys(reach.found)))
    return House(source, modules)


def is_within(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")


def every_module_has_a_place(house: House) -> Iterator[str]:
    for module in house.modules.values():
        if room_of(module.name) is None:
            yield f"{module.name} is in no room"


def rooms_import_only_what_lies_below(house: House) -> Iterator[str]:
    for module in house.modules.values():
        told = ROOMS.get(module.room, frozenset()) | {module.room}
        for name, line in module.reached:
            room = room_of(name) or PACKAGE
            if is_within(name, PACKAGE) and room not in told:
                told |= {room}
                yield f"{module.name}:{line} may not import {name}"


def small_rooms_need_few_packages(house: House) -> Iterator[str]:
    for module in house.modules.values():
        allowed = FOREIGN.get(module.room)
        for name, line in module.reached:
            top = name.split(".")[0]
            if allowed is not None and top not in sys.stdlib_module_names | allowed | {PACKAGE}:
                yield f"{module.name}:{line} may not need {top}"


def nobody_reaches_what_is_banned(house: House) -> Iterator[str]:
    for module in house.modules.values():
        for ban in BANS:
            if module.room in ban.rooms - ban.but:
                for name, line in module.reached:
                    if any(is_within(name, banned) for banned in ban.names):
                        yield f"{module.name}:{line} reaches {name}, but {ban.why}"


def imports_have_no_cycle(house: House) -> Iterator[str]:
    """Count imports inside functions and for type checking too: they only hide a cycle."""
    graph: dict[str, set[str]] = {}
    for module in house.modules.values():
        edges = graph.setdefault(module.name, set())
        for name, _ in module.reached:
            target = name
            while target and target not in house.modules:
                target = target.rpartition(".")[0]
            if target and target != module.name:
                edges.add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " imports ".join(reversed(error.args[1]))


def no_file_is_too_long(house: House) -> Iterator[str]:
    for path in sorted(house.source.rglob("*")):
        if path.suffix in TEXT_SUFFIXES:
            lines = len(path.read_bytes().splitlines())
            if lines > LINES_AT_MOST:
                yield f"{path.relative_to(house.source)} has {lines} lines"


def modules_are_named_by_one_thing(house: House) -> Iterator[str]:
    for module in house.modules.values():
        last = module.name.rpartition(".")[2]
        words = last.strip("_").split("_")
        if EMPTY_WORDS & set(words):
            yield f"{module.name} has a name that says nothing"
        noun = words[-1]
        if (
            noun.endswith("s")
            and not noun.endswith(SINGULAR_ENDINGS)
            and len(noun) >= SHORTEST_PLURAL
            and noun not in PLURALS | {PACKAGE}
        ):
            yield f"{module.name} is a plural"


def modules_say_what_they_do(house: House) -> Iterator[str]:
    for module in house.modules.values():
        if not ast.get_docstring(module.tree):
            yield f"{module.name} has no docstring"


Rule = Callable[[House], Iterator[str]]
RULES: tuple[Rule, ...] = (
    every_module_has_a_place,
    rooms_import_only_what_lies_below,
    small_rooms_need_few_packages,
    nobody_reaches_what_is_banned,
    imports_have_no_cycle,
    no_file_is_too_long,
    modules_are_named_by_one_thing,
    modules_say_what_they_do,
)
