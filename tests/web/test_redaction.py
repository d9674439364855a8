"""Log text is searched for every secret that went into it."""

from __future__ import annotations

import asyncio
import io
import logging
import socket
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from uvicorn.logging import AccessFormatter

from lifesigns.web.redaction import Redactor

KEY = "ls_k3f9_Zx81QwErTy2345"
TICKET = "lt_Ticket0123456789"
TAKEN_OVER = "sk-live/0123+abc="
ROOT = "correct horse battery staple"
SECRETS = (KEY.rpartition("_")[2], TICKET[3:], TAKEN_OVER, ROOT, "hunter2hunter2", "Whsec0123456")


class Log:
    """A logger with one handler, and what was written to it."""

    def __init__(self, name: str, formatter: logging.Formatter | None = None) -> None:
        self._stream = io.StringIO()
        self.handler = logging.StreamHandler(self._stream)
        self.handler.addFilter(Redactor([ROOT]))
        self.handler.setFormatter(formatter or logging.Formatter("%(levelname)s %(message)s"))
        self.logger = logging.getLogger(name)

    @property
    def text(self) -> str:
        return self._stream.getvalue()


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    log = Log(f"test.{request.node.name}")
    log.logger.addHandler(log.handler)
    log.logger.setLevel(logging.DEBUG)
    log.logger.propagate = False
    yield log
    log.logger.removeHandler(log.handler)


def leaks(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


MESSAGES: list[tuple[str, tuple[object, ...]]] = [
    (f"made {KEY} for a1", ()),
    ("made %s for a1", (KEY,)),
    ("made %r for a1", (KEY,)),
    ("GET /v1/connect?ticket=%s&x=1", (TICKET,)),
    (f"GET /v1/connect?a=1&Ticket={TAKEN_OVER}&x=1", ()),
    (f"GET /agents/heartbeat?apiKey={TAKEN_OVER} HTTP/1.1", ()),
    (f"Authorization: Bearer {TAKEN_OVER}", ()),
    (f"authorization: {ROOT}", ()),
    ("< %s: %s", ("X-API-Key", TAKEN_OVER)),
    ("< %s: %s", ("X-Agent-Token", f"{TAKEN_OVER} {TAKEN_OVER}")),
    ("x-api-key=%s", (TAKEN_OVER,)),
    ('authorization="%s"', (TAKEN_OVER,)),
    ("Bearer %s was sent", (TAKEN_OVER,)),
    ("headers %s", ({"x-api-key": TAKEN_OVER, "host": "here"},)),
    ("headers %r", ([(b"authorization", f"Bearer {TAKEN_OVER}".encode())],)),
    ("scope %s", ({"headers": [(b"x-agent-token", TAKEN_OVER.encode())]},)),
    ("body %s", (f'{{"key": "{TAKEN_OVER}", "ticket":"{TAKEN_OVER}"}}',)),
    ("body %s", (f'{{"ticket": "a\\"{TAKEN_OVER}"}}'.encode(),)),
    ("%(what)s is new", ({"what": KEY},)),
    ("root is %s", (ROOT,)),
    ("refused: %s", (ValueError(f"no such key: {KEY}"),)),
    ("store at redis://hub:hunter2hunter2@store:6379/0", ()),
    ("store at %s", ("redis://:hunter2hunter2@store",)),
    ("signed with whsec_Whsec0123456+/=", ()),
    ("does not %s fit %s", (KEY,)),
    ("%d is no number", (KEY,)),
]


@pytest.mark.parametrize(("message", "arguments"), MESSAGES)
def test_no_secret_stands_in_a_line(log: Log, message: str, arguments: tuple[object, ...]) -> None:
    log.logger.info(message, *arguments)
    assert log.text
    assert leaks(log.text) == []


def test_what_is_no_secret_is_left_as_it_was(log: Log) -> None:
    lines = [
        "agent a1 of default is offline: expired",
        "no key, ticket or token was sent",
        "GET /v1/pulse?after=a1&limit=10 200",
        "listening on http://127.0.0.1:8700",
        "redis://store:6379/0 is back after 3 s",
        "tls_cert_file is not set",
    ]
    for line in lines:
        log.logger.info(line)
    assert log.text.splitlines() == [f"INFO {line}" for line in lines]


def test_a_line_goes_on_after_the_secret_and_a_key_keeps_its_id(log: Log) -> None:
    log.logger.info("made %s for %s", KEY, "a1")
    log.logger.info("GET /v1/connect?ticket=%s&x=1 101", TICKET)
    assert log.text == "INFO made ls_k3f9_*** for a1\nINFO GET /v1/connect?ticket=***&x=1 101\n"


def test_no_secret_stands_in_a_traceback(log: Log) -> None:
    try:
        try:
            raise KeyError(KEY)
        except KeyError as error:
            raise RuntimeError(f"GET /v1/connect?ticket={TICKET}") from error
    except RuntimeError:
        log.logger.exception("failed", stack_info=True)
    assert "RuntimeError" in log.text
    assert "KeyError" in log.text
    assert "Stack (most recent call last)" in log.text
    assert leaks(log.text) == []


def test_a_formatter_that_reads_the_exception_itself_finds_none(log: Log) -> None:
    class Naive(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return f"{record.msg} {record.args} {record.exc_info}"

    log.handler.setFormatter(Naive())
    try:
        raise ValueError(KEY)
    except ValueError as error:
        log.logger.exception("failed with %s", error)
    assert leaks(log.text) == []


def test_masking_twice_changes_nothing() -> None:
    mask = Redactor([ROOT]).mask
    for message, arguments in MESSAGES:
        once = mask(f"{message} {arguments}")
        assert mask(once) == once


def test_a_record_that_two_handlers_write_is_masked_in_both(log: Log) -> None:
    second = Log("unused")
    log.logger.addHandler(second.handler)
    log.logger.info("made %s", KEY)
    log.logger.removeHandler(second.handler)
    assert log.text == second.text == "INFO made ls_k3f9_***\n"


@pytest.mark.parametrize(
    "part", [":", "://", "://a:", "ticket", "token=", "'key' ", "x-api-key ", "Bearer ", "ls_a_"]
)
def test_a_hostile_line_of_64_kib_is_masked_without_going_over_it_again_and_again(
    part: str,
) -> None:
    """A pattern that backtracks would need minutes for this line, which a stranger can send."""
    line = "GET /?u=://" + part * (65_536 // len(part))
    assert len(Redactor().mask(line)) <= 4 * len(line)


class ReadyServer(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


async def test_the_log_of_a_real_server_holds_no_secret() -> None:
    """Everything that uvicorn can say about requests, in its own formats, at its finest level."""

    async def answer(request: Request) -> PlainTextResponse:
        logging.getLogger("uvicorn.error").info("asked with %s", dict(request.headers))
        if "fail" in request.query_params:
            raise RuntimeError(f"bad ticket in {request.url}: {request.headers['authorization']}")
        return PlainTextResponse("ok")

    formatter = AccessFormatter(
        '%(client_addr)s "%(request_line)s" %(status_code)s', use_colors=False
    )
    logs = [Log("uvicorn.access", formatter), Log("uvicorn.error"), Log("uvicorn.asgi")]
    for log in logs:
        log.logger.addHandler(log.handler)
    app = Starlette(routes=[Route("/v1/events", answer)])
    config = uvicorn.Config(app, port=0, log_config=None, log_level="trace", lifespan="off")
    server = ReadyServer(config)
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(20):
            await server.ready.wait()
            port = server.servers[0].sockets[0].getsockname()[1]
            for query in ("", "&fail=1"):
                await get(port, f"/v1/events?ticket={TICKET}&apiKey={TAKEN_OVER}{query}")
    finally:
        server.should_exit = True
        await serving
        for log in logs:
            log.logger.removeHandler(log.handler)

    access, error, asgi = (log.text for log in logs)
    assert '"GET /v1/events?ticket=***&apiKey=*** HTTP/1.1" 200' in access
    assert "asked with" in error
    assert "RuntimeError" in error
    assert leaks(access + error + asgi) == []


async def get(port: int, target: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"Authorization: Bearer {KEY}", f"X-API-Key: {TAKEN_OVER}", f"X-Agent-Token: {ROOT}"]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
