"""What both codecs take, give back and refuse; and that nothing hostile gets further."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from enum import StrEnum
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lifesigns.core.codec import (
    CODECS,
    JSON,
    MAX_DEPTH,
    MSGPACK,
    Codec,
    check_bulk,
    check_domain,
)
from lifesigns.core.errors import BadJson, BadUtf8, BadValue, LifesignsError

BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)

MESSAGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a beat": {"type": "beat", "status": "thinking", "task": "x"},
    "every kind": {"a": None, "b": True, "c": False, "d": -7, "e": 0.5, "f": "", "g": [], "h": {}},
    "the widest integers": {"least": -(2**63), "greatest": 2**63 - 1, "list": [2**63 - 1]},
    "floats that look like integers": {"one": 1.0, "zero": -0.0, "list": [1e16, 5e-324]},
    "text of all planes": {"text": "\x00\x7f é \u2028 \ud7ff\ue000\uffff 😀", "é😀": {"😀": "é"}},
    "colons and braces in text": {"task": "a: {b}: [c], \"d\": 'e' \\", "k:": {"{": "}"}},
    "escapes that are text": {"task": "\\ud800 \\u", "path": "C:\\users\\udd"},
    "nesting": {"ref": 3, "metadata": {"a": [{"b": [[1.5, {"c": None}]]}, 2], "a.b": {"": 0}}},
    "many fields": {f"field-{i}": i for i in range(20)},
    "more than two bytes can count": {str(i): [i] for i in range(70_000)},
    "a long list": {"agents": [f"agent-{i}" for i in range(1000)]},
    "bytes that begin maps, in text": {"task": "\u0080\u07de\u07df", "n": 0x80, "m": 0xDE},
}


class TestWhatIsTaken:
    @BOTH
    @pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
    def test_a_message_comes_back_as_it_was(self, codec: Codec, message: dict[str, Any]) -> None:
        assert same(codec.decode(codec.encode(message)), message)

    @pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
    def test_json_with_escapes_and_blanks_is_read_too(self, message: dict[str, Any]) -> None:
        text = " \t\r\n" + json.dumps(message, indent=1) + "\n\n"
        assert same(JSON.decode(text.encode()), message)

    @pytest.mark.parametrize("use_single_float", [False, True])
    def test_msgpack_of_other_libraries_is_read_too(self, use_single_float: bool) -> None:
        message = {"half": 0.5, "list": [0.25, 2**40, {"x": "y"}]}
        payload = msgpack.packb(message, use_single_float=use_single_float, use_bin_type=False)
        assert same(MSGPACK.decode(payload), message)

    @pytest.mark.parametrize(
        "payload",
        [
            b"\xde\x00\x01\xd9\x01a\xd3" + bytes(7) + b"\x01",
            b"\xdf\x00\x00\x00\x01\xda\x00\x01a\xcf" + bytes(7) + b"\x01",
            b"\x81\xdb\x00\x00\x00\x01a\xce\x00\x00\x00\x01",
        ],
    )
    def test_msgpack_may_use_longer_forms_than_it_needs(self, payload: bytes) -> None:
        assert same(MSGPACK.decode(payload), {"a": 1})

    @BOTH
    def test_a_message_may_be_as_deep_as_the_limit(self, codec: Codec) -> None:
        for innermost in ({"x": 1}, [1], {}, []):
            message = {"a": nested(MAX_DEPTH - 2, innermost)}
            assert codec.decode(codec.encode(message)) == message

    def test_the_names_of_the_codecs_are_those_of_the_subprotocols(self) -> None:
        assert CODECS == {"lifesigns.v1.json": JSON, "lifesigns.v1.msgpack": MSGPACK}
        assert (JSON.name, JSON.binary) == ("json", False)
        assert (MSGPACK.name, MSGPACK.binary) == ("msgpack", True)
        assert all(codec.subprotocol == name for name, codec in CODECS.items())


class TestWhatIsWritten:
    def test_json_is_compact_and_in_utf_8(self) -> None:
        message = {"type": "ok", "ref": 1, "note": "é😀", "list": [1.0, None]}
        assert (
            JSON.encode(message) == '{"type":"ok","ref":1,"note":"é😀","list":[1.0,null]}'.encode()
        )

    def test_msgpack_is_byte_for_byte_what_it_was(self) -> None:
        message = {"type": "ok", "ref": 1, "list": [1.0, None, True]}
        want = "83a474797065a26f6ba372656601a46c69737493cb3ff0000000000000c0c3"
        assert MSGPACK.encode(message).hex() == want

    @BOTH
    @pytest.mark.parametrize("count", [0, 1, 40])
    def test_what_is_joined_of_parts_reads_as_if_it_had_been_written_whole(
        self, codec: Codec, count: int
    ) -> None:
        head, entries = {"type": "t", "ref": None}, [{"n": i, "é": '"\\'} for i in range(count)]
        encoded = [codec.encode(entry) for entry in entries]
        joined = codec.with_list(head, "all", encoded)
        assert same(codec.decode(joined), {**head, "all": entries})
        named = {f'{i}é"\\' * i: entry for i, entry in enumerate(entries)}
        pairs = [codec.pair(name, codec.encode(entry)) for name, entry in named.items()]
        assert same(codec.decode(codec.with_map(head, "all", pairs)), {**head, "all": named})

    def test_json_never_writes_what_json_has_no_word_for(self) -> None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            JSON.encode({"a": math.nan})

    def test_a_codec_that_is_none_of_the_two_has_to_say_how(self) -> None:
        other = Codec("other", binary=True)
        with pytest.raises(NotImplementedError):
            other.encode({})
        with pytest.raises(NotImplementedError):
            other.pair("", b"")
        with pytest.raises(NotImplementedError):
            other.with_list({}, "", [])
        with pytest.raises(NotImplementedError):
            other.with_map({}, "", [])
        with pytest.raises(NotImplementedError):
            other.decode(b"")


# Field, then the words that follow its name; None: it cannot be decoded at all.
TOO_LARGE = "is an integer beyond 64 bits"
NOT_UNICODE = "is not whole Unicode"
TOO_DEEP = "is nested too deep"
TWICE = "stands twice"
NOT_TEXT = "has a key that is not text"

BAD_JSON_VALUES: list[tuple[str, str | None, str]] = [
    ('{"a": NaN}', "a", "is NaN, which is no finite number"),
    ('{"a": [1, -Infinity]}', "a[1]", "is -Infinity, which is no finite number"),
    ('{"metadata": {"a": [0, 1, {"b": Infinity}]}}', "metadata.a[2].b", "is Infinity, which"),
    ('{"a": 1e400}', "a", "is no finite number"),
    ('{"a": [-1e400]}', "a[0]", "is no finite number"),
    ('{"a": 9223372036854775808}', "a", TOO_LARGE),
    ('{"a": {"b": -9223372036854775809}}', "a.b", TOO_LARGE),
    ('{"a": 18446744073709551615}', "a", TOO_LARGE),
    ('{"a": [%s]}' % ("9" * 100), "a[0]", TOO_LARGE),
    ('{"a": -%s}' % ("9" * 60_000), "a", TOO_LARGE),
    (r'{"a": "\ud800"}', "a", NOT_UNICODE),
    (r'{"a": {"b": ["x\uDFFFx"]}}', "a.b[0]", NOT_UNICODE),
    (r'{"a": "\udc00\ud800"}', "a", NOT_UNICODE),
    (r'{"a": {"\ud83d": 1}}', r'a["\ud83d"]', NOT_UNICODE),
    ('{"a": 1, "a": 1}', "a", TWICE),
    ('{"a" : 1, "b": ":", "a": {}}', "a", TWICE),
    ('{"x": [{"b": {"a": 1, "a": 2}}]}', "x[0].b.a", TWICE),
    (r'{"a": 1, "\u0061": 1}', "a", TWICE),
    ('{"": NaN}', '[""]', "is NaN"),
    ('{"a b": {"c.d": {"e\\"": NaN}}}', r'["a b"]["c.d"]["e\""]', "is NaN"),
    ('{"%s": NaN}' % ("k" * 65), '["%s"]' % ("k" * 64), "is NaN"),
    ('{"größe": {"\u2028": NaN}}', r'größe["\u2028"]', "is NaN"),
]

BAD_MSGPACK_VALUES: list[tuple[bytes, str | None, str]] = [
    (b"\x81\xa1a\xca\x7f\xc0\x00\x00", "a", "is no finite number"),
    (b"\x81\xa1a\x91\xcb\xff\xf0" + bytes(6), "a[0]", "is no finite number"),
    (b"\x81\xa1a\xcf\x80" + bytes(7), "a", TOO_LARGE),
    (b"\x81\xa1a\x81\xa1b\x92\x00\xcf" + b"\xff" * 8, "a.b[1]", TOO_LARGE),
    (b"\x81\xa1a\xc4\x01x", "a", "is of a kind that has no place here (bytes)"),
    (b"\x81\xa1a\x92\x00\xc4\x00", "a[1]", "is of a kind that has no place here (bytes)"),
    (b"\x81\xa1a\xd4\x05x", "a", "is of a kind that has no place here (ExtType)"),
    (b"\x81\xa1a\xd6\xff" + bytes(4), "a", "is of a kind that has no place here (Timestamp)"),
    (b"\x81\xa1a\xd7\xff" + b"\xff" * 8, None, "holds an extension that is malformed"),
    (b"\x81\xa1a\xc7\x05\xff" + bytes(5), None, "holds an extension that is malformed"),
    (b"\x81\x01\x02", None, NOT_TEXT),
    (b"\x81\xa1a\x81\xc0\x02", "a", NOT_TEXT),
    (b"\x81\xa1a\x91\x81\xc4\x01x\x02", "a[0]", NOT_TEXT),
    (b"\x81\xc4\x00\x02", None, NOT_TEXT),
    (b"\x81\x91\x01\x02", None, NOT_TEXT),
    (b"\x81\x81\xa1a\x01\x02", None, NOT_TEXT),
    (b"\x81\xd6\xff" + bytes(4) + b"\x02", None, NOT_TEXT),
    (b"\x81\xa1a\xa3\xed\xa0\x80", "a", NOT_UNICODE),
    (b"\x81\xa1a\x91\xa1\xff", "a[0]", NOT_UNICODE),
    (b"\x81\xa1a\xa2\xc0\x80", "a", NOT_UNICODE),
    (b"\x81\xa1\xff\x01", r'["\udcff"]', NOT_UNICODE),
    (b"\x82\xa1a\x01\xa1a\x01", "a", TWICE),
    (b"\x81\xa1b\x91\x82\xa1a\x01\xa1a\x02", "b[0].a", TWICE),
    (b"\x82\xa1a\x80\xa1a\x80", "a", TWICE),
    (b"\xde\x00\x02\xa1a\x01\xa1a\x01", "a", TWICE),
    # 14 fields of 15 are different, and 14 stands in the head, but not as their number.
    (b"\xde\x00\x0f" + b"".join(b"\xa1%c\x01" % (65 + i % 14) for i in range(15)), "A", TWICE),
]

NOT_JSON = [
    b"",
    b" ",
    b"{",
    b'{"a":',
    b'{"a":1',
    b'{"a":1,}',
    b'{"a":1}}',
    b'{"a":1}{"a":1}',
    b'{"a":1} x',
    b"{'a':1}",
    b"{a:1}",
    b'{"a":01}',
    b'{"a":+1}',
    b'{"a":.5}',
    b'{"a":nan}',
    b'{"a":"\x00"}',
    b'{"a":"\n"}',
    b'{"a":"\\x"}',
    b'{"a":"\\ud8"}',
    b'{"a":/**/1}',
    b'\xef\xbb\xbf{"a":1}',
    b'\xc2\xa0{"a":1}',
    b"null",
    b"1",
    b"NaN",
    b'"text"',
    b'[{"type":"beat"}]',
    b"[" * 100_000,
    b"]" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' + b'"\\' * 30_000,
    b'{"a":' * 10 + b"[" * 10,
]

NOT_UTF_8 = [
    b"\xff",
    b'{"a":"\xe9"}',
    b'{"a":"\xc0\x80"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xf4\x90\x80\x80"}',
    b'{"a":"\xf0\x9f\x98',
    '{"a":1}'.encode("utf-16"),
    MSGPACK.encode({"a": -1}),
]

NOT_MSGPACK = [
    b"",
    b"\xc1",
    b"\x81",
    b"\x81\xa1",
    b"\x81\xa1a",
    b"\x82\xa1a\x01",
    b"\x81\xa1a\xc1",
    b"\x81\xa1a\xa5text",
    b"\x81\xa1a\x01\x01",
    b"\x81\xa1a\x01\x81\xa1a\x01",
    b"\x81\xa1a\xdb\xff\xff\xff\xff",
    b"\x81\xa1a\xc6\xff\xff\xff\xff",
    b"\x81\xa1a\xc9\xff\xff\xff\xff\x05",
    b"\x81\xa1a\xdd\xff\xff\xff\xff\x01",
    b"\xdf\xff\xff\xff\xff\xa1a\x01",
    b"\xdc\xff\xff" * 1000,
    b"\xdc\xff\xff" * 20_000,
    b"\x81\xa1a\x01" + bytes(1000),
    b"\x81\xa1a" + b"\xc1" * 1000,
    b"\xc0",
    b"\x01",
    b"\x7f",
    b"\xa4text",
    b"\x91\x80",
    b"\xc4\x01x",
    b"\xd6\xff" + bytes(4),
    b"\x91" * 60_000,
    b"\x91" * 60_000 + b"\x01",
    JSON.encode({"a": 1}),
]


class TestWhatIsRefused:
    @pytest.mark.parametrize(("text", "field", "words"), BAD_JSON_VALUES)
    def test_json_of_a_value_outside_the_domain(
        self, text: str, field: str | None, words: str
    ) -> None:
        refusal(JSON, text.encode(), BadValue, field, words)

    @pytest.mark.parametrize(("payload", "field", "words"), BAD_MSGPACK_VALUES)
    def test_msgpack_of_a_value_outside_the_domain(
        self, payload: bytes, field: str | None, words: str
    ) -> None:
        refusal(MSGPACK, payload, BadValue, field, words)

    @pytest.mark.parametrize("payload", NOT_JSON, ids=lambda payload: repr(payload[:20]))
    def test_what_is_no_message_in_json(self, payload: bytes) -> None:
        error = refusal(JSON, payload, BadJson, None, "")
        assert not isinstance(error, BadUtf8)

    @pytest.mark.parametrize("payload", NOT_UTF_8, ids=lambda payload: repr(payload[:20]))
    def test_json_that_is_not_utf_8_has_a_closing_code_of_its_own(self, payload: bytes) -> None:
        error = refusal(JSON, payload, BadUtf8, None, "")
        assert (error.code, error.http_status, error.close_code) == ("bad_json", 400, 1007)

    @pytest.mark.parametrize("payload", NOT_MSGPACK, ids=lambda payload: repr(payload[:20]))
    def test_what_is_no_message_in_msgpack(self, payload: bytes) -> None:
        refusal(MSGPACK, payload, BadJson, None, "")

    @pytest.mark.parametrize(
        ("codec", "payload", "words"),
        [
            (JSON, b'{"a":1,}', "Not JSON: Illegal trailing comma"),
            (JSON, b'{"a"}', "Not JSON: Expecting ':' delimiter (character 4)."),
            (JSON, b'{"a":1} x', "Not one JSON message: something follows it (character 7)."),
            (JSON, b'{"a":"\xff"}', "Not UTF-8: byte 6 cannot stand there."),
            (JSON, b"[]", "A message is a map."),
            (MSGPACK, b"\x90", "A message is a map."),
            (MSGPACK, b"\x81", "Not msgpack: it ends too early."),
            (MSGPACK, b"\xc1", "Not msgpack: it holds a byte that begins nothing."),
            (MSGPACK, b"\x80\x80\x80", "Not one msgpack message: 2 bytes follow it."),
        ],
    )
    def test_the_words_say_what_is_wrong(self, codec: Codec, payload: bytes, words: str) -> None:
        message = refusal(codec, payload, BadJson, None, "").message
        if "trailing comma" in words:  # said so from Python 3.13 on
            assert message.startswith("Not JSON: ")
        else:
            assert message == words

    @BOTH
    @pytest.mark.parametrize("innermost", [{"x": 1}, [1], {}, []], ids=repr)
    def test_a_message_one_level_too_deep(self, codec: Codec, innermost: Any) -> None:
        message = {"a": nested(MAX_DEPTH - 1, innermost)}
        error = refusal(codec, codec.encode(message), BadValue, ..., TOO_DEEP)
        assert error.field is not None
        assert error.field.startswith("a[0].k[0].k")

    @pytest.mark.parametrize("depth", [100, 900, 1000, 1100, 5000, 100_000])
    def test_json_of_any_depth_names_the_field_and_carries_the_ref(self, depth: int) -> None:
        start, end = '{"type":"beat","ref":"r[{\\"","metadata":{"a":[0,{},', "]},"
        for opening, closing, path in (("[", "]", "[0]"), ('{"k":', "}", ".k")):
            deep = opening * depth + "1" + closing * depth
            payload = f'{start}{deep}{end}"x":1}}'.encode()
            want = "metadata.a[2]" + path * (MAX_DEPTH - 3)
            assert refusal(JSON, payload, BadValue, want, TOO_DEEP).ref == 'r[{"'
            # Cut off it would not be JSON, but that is seen only where the reader gets so far.
            unfinished = payload[: len(start) + len(opening) * depth]
            with pytest.raises((BadValue, BadJson)):
                JSON.decode(unfinished)

    @pytest.mark.parametrize("depth", [100, 900, 1000, 1021, 1022, 1023, 1024, 1100, 50_000])
    def test_msgpack_of_any_depth_names_the_field(self, depth: int) -> None:
        start = b"\x83\xa4type\xa4beat\xa3ref\x07\xa8metadata"
        for opening, path in ((b"\x91", "[0]"), (b"\x81\xa1k", ".k")):
            error = refusal(MSGPACK, start + opening * depth + b"\x01", BadValue, ..., TOO_DEEP)
            assert error.field in (f"metadata{path * (MAX_DEPTH - 1)}", "metadata")
            if depth <= 1000:  # beyond that the library stops, and the field is all that is found
                assert (error.field, error.ref) == (f"metadata{path * (MAX_DEPTH - 1)}", 7)

    @pytest.mark.parametrize("key", [b"\x91" * 2000, b"\x81\xa1k" * 2000, b"\xdc\x0f\xff" * 1500])
    def test_msgpack_with_a_deep_key_is_not_read_further(self, key: bytes) -> None:
        refusal(MSGPACK, b"\x82\xa1a\x01" + key + bytes(5000), BadValue, None, NOT_TEXT)

    def test_msgpack_with_a_deep_field_whose_name_is_not_unicode(self) -> None:
        refusal(MSGPACK, b"\x81\xa1\xff" + b"\x91" * 2000, BadValue, r'["\udcff"]', TOO_DEEP)

    def test_what_follows_a_fault_does_not_hide_that_it_is_no_message(self) -> None:
        refusal(JSON, b'{"a":NaN,"b":1', BadJson, None, "")
        refusal(JSON, b'{"a":1,"a":1}]', BadJson, None, "")
        refusal(MSGPACK, b"\x82\xa1a\xc4\x00\xa1b", BadJson, None, "")
        refusal(MSGPACK, b"\x81\xa1a\xa1\xff\x00", BadJson, None, "")

    def test_a_refusal_can_itself_be_sent_whatever_it_names(self) -> None:
        error = refusal(JSON, rb'{"\ud800":{"\n":{"\u202e":[NaN]}}}', BadValue, ..., "")
        for codec in (JSON, MSGPACK):
            answer = {"field": error.field, "message": error.message}
            assert codec.decode(codec.encode(answer)) == answer


class TestTheRefOfWhatIsRefused:
    @BOTH
    @pytest.mark.parametrize("ref", [7, -(2**63), "r-7", "é😀", ""])
    def test_it_is_carried_back(self, codec: Codec, ref: str | int) -> None:
        message = {"type": "beat", "a": 2**63, "ref": ref}
        assert refusal(codec, codec.encode(message), BadValue, "a", TOO_LARGE).ref == ref

    @pytest.mark.parametrize(
        "ref",
        ["1.5", "true", "null", "[]", '{"ref":1}', "NaN", str(2**63), r'"\ud800"', '1,"ref":2'],
    )
    def test_it_is_not_when_it_is_none(self, ref: str) -> None:
        payload = f'{{"a":NaN,"ref":{ref}}}'.encode()
        assert refusal(JSON, payload, BadValue, ..., "").ref is None

    def test_there_may_be_none(self) -> None:
        assert refusal(JSON, b'{"a":{"ref":1,"b":NaN}}', BadValue, "a.b", "").ref is None
        assert refusal(MSGPACK, b"\x81\xa3ref\xa1\xff", BadValue, "ref", NOT_UNICODE).ref is None


class Mood(StrEnum):
    CALM = "calm"


class TestCheckDomain:
    @pytest.mark.parametrize(
        "value",
        [
            *MESSAGES.values(),
            *(None, True, -(2**63), 2**63 - 1, -0.0, "", [], [[]]),
            *(Mood.CALM, OrderedDict(a=1)),
        ],
        ids=lambda value: repr(value)[:30],
    )
    def test_it_takes_what_both_codecs_can_send(self, value: Any) -> None:
        check_domain(value, "value")
        for codec in (JSON, MSGPACK):
            assert codec.decode(codec.encode({"value": value})) == {"value": value}

    @pytest.mark.parametrize(
        ("value", "field", "words"),
        [
            (math.inf, "m", "is no finite number"),
            ({"a": [0, {"b": 2**63}]}, "m.a[1].b", TOO_LARGE),
            (["\ud800"], "m[0]", NOT_UNICODE),
            ({"\udfff": 1}, r'm["\udfff"]', NOT_UNICODE),
            ({1: 1}, "m", NOT_TEXT),
            ({"a": (1, 2)}, "m.a", "is of a kind that has no place here (tuple)"),
            ({"a": {1}}, "m.a", "is of a kind that has no place here (set)"),
            (b"", "m", "is of a kind that has no place here (bytes)"),
            (1j, "m", "is of a kind that has no place here (complex)"),
        ],
    )
    def test_it_names_the_path(self, value: Any, field: str, words: str) -> None:
        with pytest.raises(BadValue) as caught:
            check_domain(value, "m")
        assert caught.value.field == field
        assert caught.value.message == f"{field} {words}."

    def test_without_a_path_it_names_the_field_alone(self) -> None:
        with pytest.raises(BadValue) as caught:
            check_domain({"a": [math.nan]})
        assert caught.value.field == "a[0]"
        with pytest.raises(BadValue) as caught:
            check_domain(math.nan)
        assert caught.value.field is None
        assert caught.value.message == "The message is no finite number."

    def test_a_circle_is_too_deep(self) -> None:
        circle: list[Any] = []
        circle.append(circle)
        with pytest.raises(BadValue) as caught:
            check_domain(circle, "m", 3)
        assert caught.value.field == "m[0][0][0]"


class TestCheckBulk:
    @pytest.mark.parametrize(
        "value",
        [None, True, 5, 0.5, "", "x" * 100, "é" * 50, [], {}, {"a": "x" * 95}, [[[1]]]],
        ids=lambda value: repr(value)[:20],
    )
    def test_it_takes_what_is_small_and_shallow(self, value: Any) -> None:
        check_bulk(value, "metadata", max_bytes=100, max_depth=3)

    @pytest.mark.parametrize(
        ("value", "field", "words"),
        [
            ("x" * 101, "m", "takes 101 bytes and may take 100"),
            ("é" * 51, "m", "takes 102 bytes and may take 100"),
            ({"a": "x" * 96}, "m", "takes 101 bytes and may take 100"),
            ([[[[]]]], "m[0][0][0]", TOO_DEEP),
            ({"a": {"b": {"c": {"d": 1}}}}, "m.a.b.c", TOO_DEEP),
            ({"a": [math.nan]}, "m.a[0]", "is no finite number"),
            (2**63, "m", TOO_LARGE),
            ("\ud800", "m", NOT_UNICODE),
            ({"a": ["\ud800"]}, "m.a[0]", NOT_UNICODE),
            ({"a": {1: 2}}, "m.a", NOT_TEXT),
            (b"", "m", "is of a kind that has no place here (bytes)"),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_it_names_what_is_not(self, value: Any, field: str, words: str) -> None:
        with pytest.raises(BadValue) as caught:
            check_bulk(value, "m", max_bytes=100, max_depth=3)
        assert caught.value.field == field
        assert caught.value.message == f"{field} {words}."

    def test_a_size_does_not_hang_on_the_codec_it_came_in(self) -> None:
        value = {"series": [0.1] * 100}
        for codec in (JSON, MSGPACK):
            came = codec.decode(codec.encode(value))
            size = len(msgpack.packb(value))
            check_bulk(came, "metadata", size, 16)
            with pytest.raises(BadValue):
                check_bulk(came, "metadata", size - 1, 16)

    def test_kinds_derived_from_plain_ones_are_measured_too(self) -> None:
        check_bulk(OrderedDict(a=Mood.CALM), "m", max_bytes=10, max_depth=1)
        with pytest.raises(BadValue, match="m takes 8 bytes and may take 7"):
            check_bulk(OrderedDict(a=Mood.CALM), "m", max_bytes=7, max_depth=1)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
messages = st.dictionaries(text, values, max_size=18)


UNHURRIED = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


class TestWhateverComes:
    @given(messages)
    @UNHURRIED
    def test_a_message_survives_both_codecs_in_either_order(self, message: dict[str, Any]) -> None:
        by_json = JSON.decode(JSON.encode(message))
        by_both = MSGPACK.decode(MSGPACK.encode(by_json))
        assert same(by_json, message)
        assert same(by_both, message)
        assert same(JSON.decode(JSON.encode(by_both)), message)
        assert JSON.encode(by_both) == JSON.encode(message)
        assert MSGPACK.encode(by_both) == MSGPACK.encode(message)
        check_domain(message)

    @given(messages)
    @UNHURRIED
    def test_json_with_every_escape_is_the_same_message(self, message: dict[str, Any]) -> None:
        assert same(JSON.decode(json.dumps(message).encode()), message)

    @given(st.binary(max_size=400))
    @UNHURRIED
    def test_any_bytes_are_a_message_or_one_of_our_errors(self, payload: bytes) -> None:
        for codec in (JSON, MSGPACK):
            taken_or_refused(codec, payload)

    @given(messages, st.data())
    @settings(UNHURRIED, max_examples=300)
    def test_a_damaged_message_is_a_message_or_one_of_our_errors(
        self, message: dict[str, Any], data: st.DataObject
    ) -> None:
        for codec, pieces in ((JSON, JSON_PIECES), (MSGPACK, MSGPACK_PIECES)):
            payload = codec.encode(message)
            for _ in range(data.draw(st.integers(1, 3))):
                cut = data.draw(st.integers(0, len(payload)))
                end = data.draw(st.integers(cut, min(cut + 3, len(payload))))
                payload = payload[:cut] + data.draw(pieces) + payload[end:]
            taken_or_refused(codec, payload)

    @given(
        st.recursive(
            st.just("1"),
            lambda inner: st.lists(st.tuples(st.sampled_from("aAbB"), inner), max_size=4).map(
                lambda pairs: "{" + ",".join(f'"{k}":{v}' for k, v in pairs) + "}"
            ),
        )
    )
    @UNHURRIED
    @example('{"a":1,"b":{"a":1,"b":1,"a":1}}')
    def test_a_key_that_stands_twice_is_found_wherever_it_stands(self, inner: str) -> None:
        written = f'{{"m":{inner}}}'
        doubled = False

        def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            nonlocal doubled
            doubled |= len(dict(pairs)) < len(pairs)
            return dict(pairs)

        plain = json.loads(written, object_pairs_hook=note)
        tree = json.loads(written, object_pairs_hook=lambda pairs: ("map", pairs))
        for codec, payload in ((JSON, written.encode()), (MSGPACK, packed(tree))):
            if doubled:
                assert TWICE in refusal(codec, payload, BadValue, ..., "").message
            else:
                assert codec.decode(payload) == plain


JSON_PIECES = (
    st.binary(max_size=3)
    | st.sampled_from(
        [b'"', b"\\", b"\\ud83d", b"{", b"}", b"[", b"]", b",", b":", b"NaN", b"1e999"]
    )
    | st.sampled_from([b"9" * 30, b"9" * 5000, b'{"a":1,"a":2}', b"[" * 40, b"[" * 2000])
)
MSGPACK_PIECES = (
    st.binary(max_size=3)
    | st.sampled_from([b"\xc1", b"\xc4\x01x", b"\xc7\x05\xff12345", b"\xd4\x05x", b"\xa1\xff"])
    | st.sampled_from([b"\xd6\xff" + bytes(4), b"\xd7\xff" + b"\xff" * 8, b"\xcf" + b"\xff" * 8])
    | st.sampled_from([b"\xca\x7f\xc0\x00\x00", b"\xdc\xff\xff", b"\xdf\x00\x00\xff\xff"])
    | st.sampled_from([b"\x82\xa1a\x01\xa1a\x01", b"\x81\x01\x01", b"\x81\xc4\x00\x01"])
    | st.sampled_from([b"\x91" * 40, b"\x91" * 2000, b"\xde\x00\x01"])
)


def refusal(codec: Codec, payload: bytes, kind: type, field: Any, words: str) -> LifesignsError:
    """Decode what must be refused; a field of ``...`` may be any."""
    with pytest.raises(LifesignsError) as caught:
        codec.decode(payload)
    error = caught.value
    assert isinstance(error, kind)
    assert field is ... or error.field == field
    assert error.message.startswith(f"{error.field or 'The message'} {words}" if words else "")
    return error


def taken_or_refused(codec: Codec, payload: bytes) -> None:
    try:
        message = codec.decode(payload)
    except (BadJson, BadValue) as error:
        check_domain({"field": error.field, "message": error.message, "ref": error.ref})
    else:
        check_domain(message)
        for other in (JSON, MSGPACK):
            assert same(other.decode(other.encode(message)), message)


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal kinds all through: 1, 1.0 and True are three things, 0.0 and -0.0 two."""
    return repr(one) == repr(other)


def nested(levels: int, innermost: Any) -> Any:
    """Put lists and maps around it, a list outermost, so that there are ``levels`` more levels."""
    for level in range(levels, 0, -1):
        innermost = [innermost] if level % 2 else {"k": innermost}
    return innermost


def packed(tree: Any) -> bytes:
    """Pack a tree in which a map is its pairs, so that a key may stand twice."""
    if isinstance(tree, tuple):
        members = [msgpack.packb(key) + packed(value) for key, value in tree[1]]
        return bytes([0x80 + len(members)]) + b"".join(members)
    return bytes([tree])
