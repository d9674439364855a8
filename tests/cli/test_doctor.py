"""`lifesigns doctor`: every fault is found on a set-up that really has it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lifesigns.cli.doctor import examine
from lifesigns.cli.doctor.finding import Finding
from lifesigns.cli.doctor.machine import check_folder
from lifesigns.cli.doctor.network import check_hub, check_port
from lifesigns.cli.doctor.store import check_store, judge
from lifesigns.cli.main import main
from lifesigns.config import ClientConfig, Config
from tests.cli.conftest import Peer, Run
from tests.server import Server

SECRET = "correct-horse-battery-staple"
SOUND = {"redis_version": "7.0.0", "role": "master", "aof_enabled": 1}


def texts(found: list[Finding], level: str) -> list[str]:
    return [each.text for each in found if each.level == level]


def wrongs(found: list[Finding]) -> list[str]:
    return texts(found, "wrong")


def test_nothing_is_wrong_with_a_fresh_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--port", "0", "--max-connections", "100"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("Nothing is wrong.\n")
    assert f"{tmp_path}/lifesigns does not exist yet" in out
    assert "embedded Valkey 9" in out


def test_findings_are_told_as_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lifesigns").mkdir(mode=0o755)
    assert main(["doctor", "--port", "0", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert {"level", "about", "text"} == set(told["findings"][0])


def test_bad_setting_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--port", "none"]) == 2
    assert "--port" in capsys.readouterr().err


def test_misspelt_variable_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFESIGNS_PROT", "1")
    found = list(examine(Config(port=0), ClientConfig()))
    assert any("LIFESIGNS_PROT is no setting" in text for text in wrongs(found))


def test_too_few_files_for_the_connections_are_wrong(lifesigns: Run) -> None:
    ended = lifesigns(
        "doctor", "--port", "0", prefix=("sh", "-c", 'ulimit -n 1000 && exec "$@"', "sh")
    )
    assert ended.returncode == 1
    assert "WRONG  files     1000 open files are allowed" in ended.stdout
    assert "set --max-connections 744" in ended.stdout


def test_soft_limit_of_files_is_no_fault(lifesigns: Run) -> None:
    ended = lifesigns(
        *("doctor", "--port", "0", "--max-connections", "1000"),
        prefix=("sh", "-c", 'ulimit -Sn 300 && exec "$@"', "sh"),
    )
    assert "ok     files     300 may be open; serve raises that to the 1256" in ended.stdout


def test_folder_that_others_can_read_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o750)
    (text,) = wrongs(list(check_folder(Config(data_dir=folder))))
    assert "(mode 0750" in text
    assert text.endswith(f"chmod 700 {folder}")


def test_folder_of_ours_alone_is_sound(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    found = list(check_folder(Config(data_dir=folder)))
    assert [each.level for each in found] == ["ok"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("below", ["", "deeper/data"])
def test_folder_that_cannot_be_is_wrong(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    assert len(wrongs(list(check_folder(Config(data_dir=tmp_path / "file" / below))))) == 1


def test_sound_server_is_sound(valkey_server: Callable[..., Server]) -> None:
    server = valkey_server("--appendonly", "yes")
    found = list(check_store(Config(redis=server.url)))
    assert {each.level for each in found} == {"ok"}
    assert any("the store's and ours agree" in each.text for each in found)


def test_server_that_drops_keys_and_keeps_no_file_is_told(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server("--maxmemory-policy", "allkeys-lru", tcp=True)
    found = list(check_store(Config(redis=server.url)))
    assert "maxmemory-policy allkeys-lru" in wrongs(found)[0]
    assert "CONFIG SET appendonly yes" in texts(found, "note")[0]


def test_replica_is_wrong(valkey_server: Callable[..., Server]) -> None:
    server = valkey_server("--replicaof", "127.0.0.1 1")
    assert "it is a replica" in wrongs(list(check_store(Config(redis=server.url))))[0]


def test_wrong_password_is_told_and_not_shown(valkey_server: Callable[..., Server]) -> None:
    server = valkey_server("--requirepass", "the-right-one", tcp=True)
    (text,) = wrongs(list(check_store(Config(redis=f"redis://:{SECRET}@127.0.0.1:{server.port}"))))
    assert f"redis://:***@127.0.0.1:{server.port} gives no service" in text
    assert SECRET not in text


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "unix:///no/such.sock"])
def test_server_that_is_not_there_is_wrong(url: str) -> None:
    (text,) = wrongs(list(check_store(Config(redis=url))))
    assert url in text


def test_address_that_is_none_is_wrong() -> None:
    (text,) = wrongs(list(check_store(Config(redis="redis://:pass@host:port"))))
    assert text.startswith("redis://:***@host:port is no address of a store")


@pytest.mark.parametrize(
    ("version", "level"), [("6.2.14", "wrong"), ("7.0.0", "ok"), ("10.1", "ok")]
)
def test_server_older_than_7_is_wrong(version: str, level: str) -> None:
    found = judge({**SOUND, "redis_version": version}, 0.0)
    assert next(each.level for each in found if f"Redis {version}" in each.text) == level


def test_valkey_is_told_by_its_own_version() -> None:
    found = judge({**SOUND, "redis_version": "7.2.4", "valkey_version": "9.1.2"}, 0.0)
    assert next(found).text == "Valkey 9.1.2"


@pytest.mark.parametrize(
    ("apart_s", "words"), [(3.04, "3.0 s ahead of ours"), (-60.0, "60.0 s behind ours")]
)
def test_clocks_that_differ_are_wrong(apart_s: float, words: str) -> None:
    (text,) = wrongs(list(judge(SOUND, apart_s)))
    assert words in text


def test_free_port_is_sound() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert [each.level for each in check_port(Config(port=port))] == ["ok"]


def test_port_of_another_program_is_wrong(peer: Peer) -> None:
    peer.answer = b"<html>"
    (text,) = wrongs(list(check_port(Config(port=peer.port))))
    assert text.startswith(f"127.0.0.1:{peer.port} is taken by another program")


def test_port_of_a_hub_is_no_fault(peer: Peer) -> None:
    peer.status, peer.answer = 401, b'{"error": "A key is needed.", "code": "unauthorized"}'
    for host in ("127.0.0.1", "localhost"):
        found = list(check_port(Config(host=host, port=peer.port)))
        assert [each.level for each in found] == ["ok"]
        assert "a Lifesigns hub listens" in found[0].text


def test_address_of_another_machine_is_wrong() -> None:
    (text,) = wrongs(list(check_port(Config(host="192.0.2.1"))))
    assert text.startswith("nobody can listen on 192.0.2.1:8700")


def hub(url: str, key: str | None = None) -> Finding:
    (found,) = check_hub(ClientConfig(url, key))
    return found


def test_hub_that_is_not_there_is_wrong_if_one_was_named() -> None:
    assert hub("http://127.0.0.1:1").level == "wrong"


@pytest.mark.parametrize(
    ("status", "code", "level"),
    [
        (401, "unauthorized", "wrong"),
        (403, "forbidden", "ok"),
        (503, "unavailable", "wrong"),
        (418, "teapot", "wrong"),
    ],
)
def test_hub_is_judged_by_what_it_says_to_the_key(
    peer: Peer, status: int, code: str, level: str
) -> None:
    peer.status, peer.answer = status, json.dumps({"error": "No.", "code": code}).encode()
    found = hub(peer.url, SECRET)
    assert found.level == level
    assert SECRET not in found.text


def test_hub_that_takes_the_key_is_sound(peer: Peer) -> None:
    peer.answer = b'{"alive": 0}'
    assert hub(peer.url, SECRET).text == f"{peer.url} answers and takes the key"


def test_hub_that_asks_for_a_key_is_told_when_there_is_none(peer: Peer) -> None:
    peer.status, peer.answer = 401, b'{"error": "A key is needed.", "code": "unauthorized"}'
    assert (hub(peer.url).level, "set LIFESIGNS_KEY" in hub(peer.url).text) == ("note", True)


def test_something_else_than_a_hub_is_wrong(peer: Peer) -> None:
    peer.answer = b"<html>"
    assert hub(peer.url).level == "wrong"
