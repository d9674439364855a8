"""`lifesigns serve`, as far as it comes without a hub that runs: its refusals, in one line each."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Peer, Run

SECRET = "correct-horse-battery-staple"


def test_bad_value_ends_with_2_and_names_itself(lifesigns: Run) -> None:
    ended = lifesigns("serve", "--port", "80a")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        'lifesigns: --port is "80a": it must be a whole number from 0 to 65535\n'
    )


def test_bad_variable_ends_with_2_and_names_itself(lifesigns: Run) -> None:
    ended = lifesigns("serve", LIFESIGNS_PORT="tcp://10.0.0.1:8700")
    assert ended.returncode == 2
    assert 'LIFESIGNS_PORT is "tcp://10.0.0.1:8700"' in ended.stderr


def test_auth_off_is_refused_on_an_open_host(lifesigns: Run) -> None:
    ended = lifesigns("serve", "--auth", "off", "--host", "0.0.0.0")
    assert ended.returncode == 2
    assert "must be a loopback one" in ended.stderr


def test_secret_that_is_refused_is_not_shown(lifesigns: Run) -> None:
    for variables in (
        {"LIFESIGNS_ADMIN_KEY": f"{SECRET}\t"},
        {"LIFESIGNS_REDIS": f"http://:{SECRET}@store"},
        {"LIFESIGNS_REDIS": f"redis://:{SECRET}@store:port"},
    ):
        ended = lifesigns("serve", **variables)
        assert ended.returncode == 2
        assert SECRET not in ended.stdout + ended.stderr


def test_store_that_is_not_there_is_named_without_its_password(lifesigns: Run) -> None:
    ended = lifesigns("serve", LIFESIGNS_REDIS=f"redis://:{SECRET}@127.0.0.1:1")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("lifesigns: ")
    assert "redis://:***@127.0.0.1:1" in last
    assert SECRET not in ended.stdout + ended.stderr


def test_debug_tells_where_a_start_failed(lifesigns: Run) -> None:
    redis = f"redis://:{SECRET}@127.0.0.1:1"
    ended = lifesigns("serve", "--log-level", "debug", LIFESIGNS_REDIS=redis)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert SECRET not in ended.stdout + ended.stderr


def test_port_that_is_taken_is_told(lifesigns: Run, peer: Peer) -> None:
    ended = lifesigns("serve", "--port", str(peer.port))
    assert ended.returncode == 1
    assert "ready" not in ended.stdout
    last = ended.stderr.splitlines()[-1]
    assert last == f"lifesigns: 127.0.0.1:{peer.port} is taken: choose another --port"


def test_data_folder_that_cannot_be_is_told(lifesigns: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    ended = lifesigns("serve", "--port", "0", "--data-dir", str(file / "data"))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert str(file) in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("form", ["text", "json"])
def test_misspelt_variable_and_small_limit_are_logged(lifesigns: Run, form: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ended = lifesigns(
            "serve",
            *("--redis", f"redis://127.0.0.1:{taken.getsockname()[1]}", "--log-format", form),
            prefix=("sh", "-c", 'ulimit -n 200 && exec "$@"', "sh"),
            LIFESIGNS_PROT="1",
        )
    assert ended.returncode == 1
    assert "LIFESIGNS_PROT is no setting" in ended.stderr
    assert "this process may open 200 files, too few for 16000 connections" in ended.stderr
