"""Store URLs: what is understood, what is refused, and that no secret is ever shown."""

from __future__ import annotations

import asyncio
import ssl
import traceback
from pathlib import Path

import pytest

from lifesigns.core.errors import BadValue
from lifesigns.store.address import Address, masked


def test_a_bare_url_means_the_usual_host_port_and_database():
    address = Address.parse("redis://")
    assert (address.host, address.port, address.db, address.path) == ("localhost", 6379, 0, None)
    assert (address.username, address.password, address.tls) == (None, None, None)


def test_a_whole_url_is_understood():
    address = Address.parse("redis://worker:p%40ss@store.example:7000/3?socket_connect_timeout=1.5")
    assert (address.host, address.port, address.db) == ("store.example", 7000, 3)
    assert (address.username, address.password) == ("worker", "p@ss")
    assert address.connect_s == 1.5


def test_an_ipv6_host_is_understood():
    address = Address.parse("redis://[::1]:7000/2")
    assert (address.host, address.port, str(address)) == ("::1", 7000, "redis://[::1]:7000/2")


def test_a_unix_socket_is_understood():
    address = Address.parse("unix://:secret@/run/store.sock?db=7")
    assert (address.path, address.db, address.password) == ("/run/store.sock", 7, "secret")


def test_tls_verifies_the_server_unless_told_otherwise():
    strict = Address.parse("rediss://store").tls
    assert strict is not None
    assert strict.verify_mode is ssl.CERT_REQUIRED
    assert strict.check_hostname
    lax = Address.parse("rediss://store?ssl_cert_reqs=none").tls
    assert lax is not None
    assert lax.verify_mode is ssl.CERT_NONE
    assert not lax.check_hostname


def test_tls_options_are_honoured():
    tls = Address.parse("rediss://store?ssl_min_version=772&ssl_check_hostname=no").tls
    assert tls is not None
    assert tls.minimum_version is ssl.TLSVersion.TLSv1_3
    assert not tls.check_hostname


def test_options_that_only_redis_py_uses_are_accepted():
    address = Address.parse("redis://store?max_connections=5&protocol=3&client_name=x")
    assert address.host == "store"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://store:6379/1", "redis://store:6379/1"),
        ("redis://:hunter2@store", "redis://:***@store"),
        ("redis://worker:hunter2@store:1/2?db=4", "redis://worker:***@store:1/2?db=4"),
        ("redis://hunter2@store", "redis://***@store"),
        ("rediss://store?password=hunter2&db=1", "rediss://store?password=***&db=1"),
        ("rediss://store?pass%77ord=hunter2", "rediss://store?pass%77ord=***"),
        ("unix://:hunter2@/run/s.sock?db=1", "unix://:***@/run/s.sock?db=1"),
        ("redis://:x@store?password=x@hunter2", "redis://***"),
        ("unix:///run/a:b/s.sock", "unix:///run/a:b/s.sock"),
    ],
)
def test_an_address_is_shown_without_its_secret(url: str, shown: str):
    address = Address.parse(url)
    assert str(address) == address.shown == shown
    assert "hunter2" not in repr(address)


@pytest.mark.parametrize(
    ("url", "field", "said"),
    [
        ("http://store", "scheme", "must begin with one of redis://, rediss://, unix://"),
        ("localhost:6379", "scheme", "localhost:6379 is no address of a store"),
        ("", "scheme", "must begin with"),
        ("redis:/store", "scheme", "must begin with"),
        ("redis://[::1", "url", "it is no URL"),
        ("redis://store:99999", "port", "redis://store:99999 is no address of a store: its port"),
        ("redis://store/first", "db", "redis://store/first is no address"),
        ("redis://store?db=first", "db", "redis://store?db=first is no address"),
        ("redis://store?db=-1", "db", "there is no database -1"),
        ("redis://store?db=", "db", "its option db is empty"),
        ("redis://store?socket_connect_timeout=0", "socket_connect_timeout", "no time to wait"),
        ("redis://store?socket_connect_timeout=nan", "socket_connect_timeout", "no time to wait"),
        ("redis://store?color=red", "color", "redis:// has no option color"),
        ("redis://store?ssl_cert_reqs=none", "ssl_cert_reqs", "has no option ssl_cert_reqs"),
        ("rediss://store?ssl_cert_reqs=maybe", "ssl_cert_reqs", "ssl_cert_reqs=maybe"),
        ("rediss://store?ssl_ca_certs=/nowhere/ca.pem", "ssl_ca_certs", "/nowhere/ca.pem"),
        ("rediss://store?ssl_min_version=1", "ssl_min_version", "ssl_min_version=1"),
        ("unix://run/s.sock", "path", "needs an absolute path"),
        ("unix://", "path", "needs an absolute path"),
    ],
)
def test_what_cannot_be_understood_is_named_with_its_value(url: str, field: str, said: str):
    with pytest.raises(BadValue) as caught:
        Address.parse(url)
    assert caught.value.field == field
    assert said in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@store",
        "user:hunter2@store:6379",
        "redis://:hunter2",
        "redis://user:hunter2",
        "redis://:hunter2/0",
        "redis://:hunter#2hunter2@store",
        "redis://:hunter2#x@store",
        "redis://:1#hunter2@store",
        "redis://:1?hunter2@store",
        "redis://:hunter2?x@store",
        "redis://:1/hunter2@store",
        "redis://:[hunter2@store",
        "redis://:hunter2@store:port",
        "redis://:x@store?password=hunter2&db=x",
        "redis://store?pwd=hunter2",
        "rediss://store?ssl_password=hunter2&ssl_certfile=/nowhere/c.pem",
        "unix://:hunter2@relative/path",
    ],
)
def test_a_refused_address_never_shows_its_password(url: str):
    with pytest.raises(BadValue) as caught:
        Address.parse(url)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.field)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in masked(url)


async def test_a_place_where_nobody_listens_is_an_os_error(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        await Address.parse(f"unix://{tmp_path}/nobody.sock").open(asyncio.Protocol)
