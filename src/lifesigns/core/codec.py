"""Messages to bytes and back, in JSON and in msgpack, over one domain of values.

Both codecs take exactly the same values, so that what one took the other can always send: null,
booleans, integers from -2**63 to 2**63 - 1 (an unsigned 64-bit one beyond that is refused: not
every reader has it), finite floats, text of whole Unicode, lists, and maps whose keys are text
and stand once. A message is a map, nested at most ``MAX_DEPTH`` deep, itself counted.

``decode`` says ``BadJson`` of what is no message at all (``BadUtf8`` if its text is not UTF-8) and
``BadValue``, with the path, of a value outside the domain. Nothing else ever leaves it.

Every message is decoded by a fast way that only knows "sound" or "in doubt"; the slow way then
finds the path and the words, or that there was nothing to doubt. This module must not know what
any field means, but for ``ref``, which a refusal carries back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from struct import pack
from typing import Any, NoReturn

import msgpack
from msgpack.exceptions import StackError

from lifesigns.core.errors import BadJson, BadUtf8, BadValue

# A frame around records around metadata, whose own limit is 16, with room for what is added later.
MAX_DEPTH = 32

_LEAST, _GREATEST = -(2**63), 2**63 - 1
# The longest integer within 64 bits has 19 digits and a sign; a longer text is not even converted.
_LONGEST_INTEGER = 20
# In a path, a longer key is cut: the answer must stay small whatever came.
_LONGEST_KEY = 64


class Codec:
    """One way to write messages; the subprotocol names it, ``binary`` says which frames it uses."""

    __slots__ = ("binary", "name", "subprotocol")

    def __init__(self, name: str, *, binary: bool) -> None:
        self.name = name
        self.subprotocol = f"lifesigns.v1.{name}"
        self.binary = binary

    def encode(self, message: Mapping[str, Any]) -> bytes:
        """Write a message, a plain dict of values in the domain: the caller answers for both.

        Keys keep their order, so equal messages made alike are equal bytes.
        """
        raise NotImplementedError

    def begin(self, fields: Mapping[str, Any], more: int) -> bytes:
        """Write the first fields, at least one, of a map that has so many more (up to 15)."""
        raise NotImplementedError

    def end(self, fields: Mapping[str, Any]) -> bytes:
        """Write the last fields of a map that was begun."""
        raise NotImplementedError

    def pair(self, key: str, value: bytes) -> bytes:
        """Write an entry of a map whose value is encoded already."""
        raise NotImplementedError

    def with_list(self, head: Mapping[str, Any], name: str, entries: Sequence[bytes]) -> bytes:
        """Write a message whose last field is a list of entries that are encoded already."""
        raise NotImplementedError

    def with_map(self, head: Mapping[str, Any], name: str, pairs: Sequence[bytes]) -> bytes:
        """Write a message whose last field is a map of pairs that are encoded already."""
        raise NotImplementedError

    def decode(self, payload: bytes) -> dict[str, Any]:
        """Read one whole message; raises ``BadJson`` or ``BadValue`` and nothing else."""
        raise NotImplementedError


class _Json(Codec):
    __slots__ = ()

    def encode(self, message: Mapping[str, Any]) -> bytes:
        return _write_json(message).encode()

    def begin(self, fields: Mapping[str, Any], more: int) -> bytes:
        return b"%b," % self.encode(fields)[:-1]

    def end(self, fields: Mapping[str, Any]) -> bytes:
        return self.encode(fields)[1:]

    def pair(self, key: str, value: bytes) -> bytes:
        return b"%b:%b" % (_write_json(key).encode(), value)

    def with_list(self, head: Mapping[str, Any], name: str, entries: Sequence[bytes]) -> bytes:
        return b"%b[%b]}" % (self._begin(head, name), b",".join(entries))

    def with_map(self, head: Mapping[str, Any], name: str, pairs: Sequence[bytes]) -> bytes:
        return b"%b{%b}}" % (self._begin(head, name), b",".join(pairs))

    def _begin(self, head: Mapping[str, Any], name: str) -> bytes:
        return b"%b," % self.encode(head)[:-1] + self.pair(name, b"")

    def decode(self, payload: bytes) -> dict[str, Any]:
        try:
            text = payload.decode().strip(" \t\r\n")
        except UnicodeDecodeError as error:
            raise BadUtf8(f"Not UTF-8: byte {error.start} cannot stand there.") from None
        try:
            message, end = _read_json(text)
        except (ValueError, RecursionError):
            return _weigh_json(text)
        if (
            end == len(text)
            and type(message) is dict
            and _sound(message, MAX_DEPTH - 1)
            # Half a surrogate pair can only come from an escape; most texts have none at all.
            and ("\\u" not in text or not _SURROGATE_ESCAPE.search(text))
        ):
            return message
        return _weigh_json(text)


class _Msgpack(Codec):
    __slots__ = ()

    def encode(self, message: Mapping[str, Any]) -> bytes:
        return msgpack.packb(message, use_bin_type=True)  # type: ignore[no-any-return]

    def begin(self, fields: Mapping[str, Any], more: int) -> bytes:
        header = 1 if len(fields) <= 15 else 3
        return pack(">BH", 0xDE, len(fields) + more) + self.encode(fields)[header:]

    def end(self, fields: Mapping[str, Any]) -> bytes:
        return self.encode(fields)[1:]

    def pair(self, key: str, value: bytes) -> bytes:
        return msgpack.packb(key) + value  # type: ignore[no-any-return]

    def with_list(self, head: Mapping[str, Any], name: str, entries: Sequence[bytes]) -> bytes:
        return self._begin(head, name) + pack(">BI", 0xDD, len(entries)) + b"".join(entries)

    def with_map(self, head: Mapping[str, Any], name: str, pairs: Sequence[bytes]) -> bytes:
        return self._begin(head, name) + pack(">BI", 0xDF, len(pairs)) + b"".join(pairs)

    def _begin(self, head: Mapping[str, Any], name: str) -> bytes:
        start = self.encode(head)
        assert 0x80 <= start[0] < 0x8F, "a head has fewer than 15 fields"
        return bytes([start[0] + 1]) + start[1:] + self.pair(name, b"")

    def decode(self, payload: bytes) -> dict[str, Any]:
        if len(payload) > _UNSKIMMED_BYTES:
            _skim(payload)
        try:
            # Without a second byte that could begin a map there is none inside, and a short map
            # tells its own count: keys that stand twice are then seen without a hook, which costs
            # as much as all the rest.
            if len(payload.translate(None, _MAP_HEADS)) == len(payload) - 1 and payload[0] <= 0x8F:
                message = msgpack.unpackb(payload)
                if (
                    type(message) is dict
                    and len(message) == payload[0] & 0x0F
                    and _sound(message, MAX_DEPTH - 1)
                ):
                    return message
            else:
                message = msgpack.unpackb(payload, object_pairs_hook=_map)
                if type(message) is dict and _sound(message, MAX_DEPTH - 1):
                    return message
        except ValueError:
            return _weigh_msgpack(payload)
        return _weigh_msgpack(payload)


def check_domain(value: Any, path: str = "", max_depth: int = MAX_DEPTH) -> None:
    """Refuse a value that not every codec can send, by the path at which it stands."""
    try:
        _judge(value, max_depth)
    except _Fault as fault:
        for step in reversed(fault.steps):
            path = _step(path, step) if isinstance(step, str) else f"{path}[{step}]"
        raise _refusal(path, fault.what) from None


def check_bulk(value: Any, path: str, max_bytes: int, max_depth: int) -> None:
    """Refuse what is too large or nested too deep, or is outside the domain.

    The size is that in msgpack, whatever it came in, so that both codecs and REST have one limit;
    a bare text counts its own bytes. A list or map of plain values has the depth 1.
    """
    if not _sound((value,), max_depth):
        check_domain(value, path, max_depth)
    try:
        size = len(value.encode() if isinstance(value, str) else msgpack.packb(value))
    except UnicodeEncodeError:
        return check_domain(value, path, max_depth)  # which finds where
    if size > max_bytes:
        raise _refusal(path, f"takes {size} bytes and may take {max_bytes}")
    return None


# The fast way.


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def _sound(members: Iterable[Any], room: int) -> bool:
    """Whether the members, at most ``room`` levels deep, are surely in the domain.

    Text is not looked at: a decoder of UTF-8 makes no half surrogates, escapes are seen before.
    """
    if type(members) is dict:
        for key in members:
            if type(key) is not str:
                return False
        members = members.values()
    for member in members:
        kind = type(member)
        if kind is str or member is None or kind is bool:
            continue
        if kind is int:
            if not _LEAST <= member <= _GREATEST:
                return False
        elif kind is float:
            if not isfinite(member):
                return False
        elif (kind is not dict and kind is not list) or not room or not _sound(member, room - 1):
            return False
    return True


_write_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_read_json = json.JSONDecoder(object_pairs_hook=_map).raw_decode
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")

_MAP_HEADS = bytes([*range(0x80, 0x90), 0xDE, 0xDF])

# unpackb makes room for as many members as a header claims, at each of up to 1,024 levels: 64 KiB
# of nested claims cost it 100 ms. A message that is whole cannot claim more than it holds, so a
# longer one is skimmed first, which costs a twentieth of decoding it; a shorter one does no harm.
_UNSKIMMED_BYTES = 256


def _skim(payload: bytes) -> None:
    unpacker = msgpack.Unpacker(max_buffer_size=len(payload))
    unpacker.feed(payload)
    try:
        unpacker.skip()
    except StackError:
        _refuse_depth(payload)
    except msgpack.OutOfData:
        raise BadJson("Not msgpack: it ends too early.") from None
    except ValueError:
        raise BadJson("Not msgpack: it holds a byte that begins nothing.") from None
    if (end := unpacker.tell()) != len(payload):
        raise BadJson(f"Not one msgpack message: {len(payload) - end} bytes follow it.")


# The slow way: the same bytes as a tree that keeps what a dict would lose or a hook would refuse.


class _Pairs(list[tuple[Any, Any]]):
    """A map as it was written: keys of any kind, doubled ones too."""

    __slots__ = ()


class _Foreign:
    """A literal that has no value in the domain, and what it is instead."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what


def _integer(digits: str) -> int | _Foreign:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else _Foreign(_TOO_LARGE)


_TOO_LARGE = "is an integer beyond 64 bits"
_TOO_DEEP = "is nested too deep"
_KEY_NOT_TEXT = "has a key that is not text"
_NOT_UNICODE = "is not whole Unicode"
_NO_MAP = "A message is a map."
_read_leniently = json.JSONDecoder(
    object_pairs_hook=_Pairs,
    parse_int=_integer,
    parse_constant=lambda word: _Foreign(f"is {word}, which is no finite number"),
).raw_decode
_CLOSING = {"[": "]", "{": "}"}
# A string that is not closed reaches to the end, so that no text is looked at twice.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


def _weigh_json(text: str) -> dict[str, Any]:
    try:
        try:
            tree, end = _read_leniently(text)
        except RecursionError:
            text = _cut(text)
            tree, end = _read_leniently(text)
    except json.JSONDecodeError as error:
        raise BadJson(f"Not JSON: {error.msg} (character {error.pos}).") from None
    if end != len(text):
        raise BadJson(f"Not one JSON message: something follows it (character {end}).")
    return _judged(tree, json.loads, text)


def _cut(text: str) -> str:
    """End a text, which is known to be too deep, at its first level beyond the limit."""
    tokens = _STRING_OR_BRACKET.finditer(text)
    closing: list[str] = []
    while len(closing) <= MAX_DEPTH:
        token = next(tokens)
        if token[0] in _CLOSING:
            closing.append(_CLOSING[token[0]])
        elif token[0] in ("]", "}"):
            closing.pop()
    return text[: token.end()] + "".join(reversed(closing))


def _weigh_msgpack(payload: bytes) -> dict[str, Any]:
    _skim(payload)
    try:
        tree = msgpack.unpackb(
            payload,
            strict_map_key=False,
            object_pairs_hook=_Pairs,
            # What is not UTF-8 becomes half surrogates, which are found where they stand.
            unicode_errors="surrogateescape",
        )
    except ValueError as error:
        # Whole, and no text or key of it is refused: what is left are timestamps that are none.
        raise BadValue(f"The message holds an extension that is malformed: {error}.") from None
    return _judged(tree, msgpack.unpackb, payload)


def _refuse_depth(payload: bytes) -> NoReturn:
    """Name the field of a message that is too deep even to be skimmed."""
    unpacker = msgpack.Unpacker(
        max_buffer_size=len(payload), strict_map_key=False, unicode_errors="surrogateescape"
    )
    unpacker.feed(payload)
    try:
        count = unpacker.read_map_header()
    except ValueError:
        raise BadJson(_NO_MAP) from None
    key = ""
    with suppress(StackError):
        for _ in range(count):
            head = payload[unpacker.tell()]
            if not (0xA0 <= head <= 0xBF or 0xD9 <= head <= 0xDB):
                raise _refusal("", _KEY_NOT_TEXT)  # unread: it may be what is too deep
            key = unpacker.unpack()
            unpacker.skip()
    raise _refusal(_step("", key), _TOO_DEEP)


def _judged(tree: Any, read: Callable[[Any], dict[str, Any]], written: Any) -> dict[str, Any]:
    """Refuse a message by its tree; one without a fault is read again, plainly."""
    if not isinstance(tree, _Pairs):
        raise BadJson(_NO_MAP)
    try:
        check_domain(tree)
    except BadValue as error:
        refs = [value for key, value in tree if key == "ref"]
        if len(refs) == 1 and type(refs[0]) in (int, str):
            with suppress(_Fault):
                _judge(refs[0], 0)
                error.ref = refs[0]
        raise
    return read(written)


class _Fault(Exception):
    """What is wrong with a value, and the steps that lead to it, the last one first."""

    def __init__(self, what: str, *steps: str | int) -> None:
        self.what = what
        self.steps = list(steps)


def _judge(value: Any, room: int) -> None:
    if isinstance(value, str):
        if not _whole(value):
            raise _Fault(_NOT_UNICODE)
    elif isinstance(value, int):  # booleans too
        if not _LEAST <= value <= _GREATEST:
            raise _Fault(_TOO_LARGE)
    elif isinstance(value, float):
        if not isfinite(value):
            raise _Fault("is no finite number")
    elif isinstance(value, dict | list):
        if not room:
            raise _Fault(_TOO_DEEP)
        members: Iterable[tuple[Any, Any]]
        if isinstance(value, dict | _Pairs):
            members = value if isinstance(value, _Pairs) else value.items()
            _judge_keys(members)
        else:
            members = enumerate(value)
        for step, member in members:
            try:
                _judge(member, room - 1)
            except _Fault as fault:
                fault.steps.append(step)
                raise
    elif isinstance(value, _Foreign):
        raise _Fault(value.what)
    elif value is not None:
        raise _Fault(f"is of a kind that has no place here ({type(value).__name__})")


def _judge_keys(pairs: Iterable[tuple[Any, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if not isinstance(key, str):
            raise _Fault(_KEY_NOT_TEXT)
        if not _whole(key):
            raise _Fault(_NOT_UNICODE, key)
        if key in seen:
            raise _Fault("stands twice", key)
        seen.add(key)


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _step(path: str, key: str) -> str:
    """Go on in a path; a key that would make it unreadable, or unsendable, is quoted."""
    if 0 < len(key) <= _LONGEST_KEY and key.isprintable() and not _UNREADABLE.search(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key[:_LONGEST_KEY])}]"


_UNREADABLE = re.compile(r'[.\[\]" ]')


def _refusal(path: str, what: str) -> BadValue:
    return BadValue(f"{path or 'The message'} {what}.", field=path or None)


JSON: Codec = _Json("json", binary=False)
MSGPACK: Codec = _Msgpack("msgpack", binary=True)
CODECS = {codec.subprotocol: codec for codec in (JSON, MSGPACK)}
