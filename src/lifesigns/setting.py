"""What a setting is, and how its text is found and understood.

A setting is a field of a frozen dataclass whose metadata say how its text is read and why its
default is what it is. A flag counts before the environment, the environment before the default.
Text that cannot be understood is a BadValue that names where it stood and shows the value, unless
the setting is secret. Knows no setting by name, and sees only the environment that it is handed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lifesigns.core.errors import BadValue
from lifesigns.kind import Kind

PREFIX = "LIFESIGNS_"
# What speaks to others: to the test suite, and to commands that are run for a change.
FOREIGN = (PREFIX + "TEST_", PREFIX + "CHANGE_")


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One field, as people meet it."""

    name: str
    doc: str
    kind: Kind
    default: str
    secret: bool

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    def variables(self) -> tuple[str, ...]:
        """Name every variable that this setting listens to."""
        return (self.variable, self.variable + "_FILE") if self.secret else (self.variable,)

    def options(self) -> tuple[str, ...]:
        """Name every flag that this setting listens to."""
        return (self.flag, self.flag + "-file") if self.secret else (self.flag,)

    def understand(self, source: str, text: str) -> object:
        try:
            return self.kind.read(text)
        except ValueError:
            value = "(not shown)" if self.secret else json.dumps(text, ensure_ascii=False)
            message = f"{source} is {value}: it must be {self.kind.takes}"
            raise BadValue(message, field=self.name) from None


def setting(
    default: Any, kind: Kind, doc: str, *, secret: bool = False, shown: str | None = None
) -> Any:
    """Declare a field. ``shown`` is its default in words; a callable default is called anew."""
    metadata = {"doc": doc, "kind": kind, "secret": secret, "default": shown or _shown(default)}
    if callable(default):
        return dataclasses.field(default_factory=default, repr=not secret, metadata=metadata)
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


def settings(of: type) -> tuple[Setting, ...]:
    """List the settings of a dataclass, in the order of its fields."""
    return tuple(Setting(field.name, **field.metadata) for field in dataclasses.fields(of))


def given(
    of: type, flags: Mapping[str, str | None], environ: Mapping[str, str]
) -> dict[str, object]:
    """Read what the flags (by field name) and the environment say, and leave the defaults out.

    An empty variable counts as not set, because that is how compose files and unit files write
    "nothing here"; an empty flag was typed on purpose and is read like any other text.
    """
    values: dict[str, object] = {}
    known = settings(of)
    names = {option[2:].replace("-", "_") for each in known for option in each.options()}
    for stranger in sorted(set(flags) - names):
        raise BadValue(f"--{stranger.replace('_', '-')} is no setting", field=stranger)
    for each in known:
        typed = [(option, flags.get(option[2:].replace("-", "_"))) for option in each.options()]
        stored = [(variable, environ.get(variable) or None) for variable in each.variables()]
        found = _only(each, typed) or _only(each, stored)
        if found is not None:
            values[each.name] = each.understand(*found)
    return values


def strangers(environ: Mapping[str, str], *known: type) -> tuple[str, ...]:
    """List the variables that look like settings and are none."""
    names = {name for of in known for each in settings(of) for name in each.variables()}
    ours = {name for name in environ if name.startswith(PREFIX) and not name.startswith(FOREIGN)}
    return tuple(sorted(ours - names))


def _only(each: Setting, places: Iterable[tuple[str, str | None]]) -> tuple[str, str] | None:
    found = [(source, text) for source, text in places if text is not None]
    if len(found) > 1:
        both = " and ".join(source for source, _ in found)
        raise BadValue(f"{both} are both given: one of them has to go", field=each.name)
    if not found:
        return None
    source, text = found[0]
    return source, text if source in (each.flag, each.variable) else _file(each, source, text)


def _file(each: Setting, source: str, path: str) -> str:
    try:
        # Editors and `echo` end a file with a line break that is no part of the secret.
        return Path(path).expanduser().read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError, RuntimeError) as error:
        why = str(getattr(error, "strerror", None) or "it is no path, or no UTF-8 text").lower()
        message = f"{source} is {json.dumps(path, ensure_ascii=False)}: it cannot be read: {why}"
        raise BadValue(message, field=each.name) from None


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if default is None or default == ():
        return "none"
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)
