"""Settings: which source counts, what is refused and with what words, what is never shown."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from lifesigns.config import ClientConfig, Config, data_home, misspelt
from lifesigns.core.errors import BadValue

SECRET = "correct-horse-battery-staple"


def refused(flags: dict[str, str | None], environ: dict[str, str] | None = None) -> str:
    with pytest.raises(BadValue) as caught:
        Config.load(flags, environ or {})
    return caught.value.message


def test_without_flags_and_variables_the_defaults_count() -> None:
    assert Config.load({}, {"HOME": "/home/ann"}) == Config(
        data_dir=Path("/home/ann/.local/share/lifesigns")
    )


def test_flag_counts_before_variable_and_variable_before_default() -> None:
    environ = {"LIFESIGNS_PORT": "9001"}
    assert Config.load({}, {}).port == 8700
    assert Config.load({}, environ).port == 9001
    assert Config.load({"port": None}, environ).port == 9001
    assert Config.load({"port": "9002"}, environ).port == 9002


def test_flag_is_not_asked_whether_the_variable_could_be_understood() -> None:
    assert Config.load({"port": "9002"}, {"LIFESIGNS_PORT": "tcp://10.0.0.1:8700"}).port == 9002


def test_empty_variable_counts_as_not_set() -> None:
    assert Config.load({}, {"LIFESIGNS_PORT": "", "LIFESIGNS_REDIS": ""}) == Config.load({}, {})


def test_empty_flag_asks_for_the_embedded_store_whatever_the_variable_says() -> None:
    assert Config.load({"redis": ""}, {"LIFESIGNS_REDIS": "redis://elsewhere"}).redis is None


def test_every_kind_of_setting_is_read() -> None:
    config = Config.load(
        {"auth": "off", "grace_s": "0.5", "data_dir": "~/x", "log_format": "json"},
        {"LIFESIGNS_ORIGINS": "https://a.example, http://[::1]:3000", "LIFESIGNS_TICK_MS": "50"},
    )
    assert (config.auth, config.grace_s, config.tick_ms) == (False, 0.5, 50)
    assert config.data_dir == Path("~/x").expanduser()
    assert config.origins == ("https://a.example", "http://[::1]:3000")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "http"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "8_700"),
        ("port", "٨٧٠٠"),
        ("port", " 8700"),
        ("port", "9" * 400),
        ("grace_s", "5s"),
        ("grace_s", "nan"),
        ("grace_s", "inf"),
        ("grace_s", "1e3"),
        ("tick_ms", "0"),
        ("tick_ms", "2.5"),
        ("auth", "maybe"),
        ("auth", "ON"),
        ("log_format", "xml"),
        ("log_level", "trace"),
        ("host", "two words"),
        ("host", "[::1]"),
        ("host", ""),
        ("data_dir", ""),
        ("origins", "dashboard.example"),
        ("origins", "https://dashboard.example/path"),
        ("origins", "*"),
    ],
)
def test_what_cannot_be_understood_is_told_with_the_name_and_the_value(
    name: str, text: str
) -> None:
    flag = "--" + name.replace("_", "-")
    assert refused({name: text}).startswith(f'{flag} is "{text}": it must be ')
    if text:
        variable = f"LIFESIGNS_{name.upper()}"
        assert refused({}, {variable: text}).startswith(f'{variable} is "{text}": it must be ')


def test_a_value_cannot_break_out_of_its_line() -> None:
    assert "\n" not in refused({"port": "1\nready"})


def test_flag_that_is_no_setting_is_refused() -> None:
    assert refused({"prot": "1"}) == "--prot is no setting"


@pytest.mark.parametrize("text", ["short", f"{SECRET}\n2", f" {SECRET}"])
def test_a_secret_that_is_refused_is_not_shown(text: str) -> None:
    for words in (refused({"admin_key": text}), refused({}, {"LIFESIGNS_ADMIN_KEY": text})):
        assert "(not shown)" in words
        assert "16 to 4096" in words
        assert text not in words


def test_address_with_a_password_is_not_shown() -> None:
    assert refused({"redis": f"http://:{SECRET}@store"}) == (
        "--redis is (not shown): it must be redis://host:port, rediss://host:port,"
        " redis+sentinel://host:port,host:port/service or unix:///path"
    )


def test_secrets_stand_in_no_repr() -> None:
    config = Config(admin_key=SECRET, redis=f"redis://:{SECRET}@store")
    assert SECRET not in repr(config)
    assert SECRET not in repr(ClientConfig(key=SECRET))


def test_a_secret_comes_from_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(SECRET + "\n")
    assert Config.load({}, {"LIFESIGNS_ADMIN_KEY_FILE": str(file)}).admin_key == SECRET
    assert Config.load({"admin_key_file": str(file)}, {}).admin_key == SECRET
    assert ClientConfig.load({}, {"LIFESIGNS_KEY_FILE": str(file)}).key == SECRET


def test_file_given_as_a_flag_counts_before_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(SECRET)
    loaded = Config.load({"admin_key_file": str(file)}, {"LIFESIGNS_ADMIN_KEY": "x" * 16})
    assert loaded.admin_key == SECRET


def test_a_secret_and_its_file_at_once_are_refused() -> None:
    environ = {"LIFESIGNS_ADMIN_KEY": SECRET, "LIFESIGNS_ADMIN_KEY_FILE": "/run/key"}
    assert refused({}, environ).startswith("LIFESIGNS_ADMIN_KEY and LIFESIGNS_ADMIN_KEY_FILE")


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refused({"admin_key_file": str(missing)}) == (
        f'--admin-key-file is "{missing}": it cannot be read: no such file or directory'
    )
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "no utf-8 text" in refused({}, {"LIFESIGNS_REDIS_FILE": str(tmp_path / "binary")})


def test_only_secrets_have_files() -> None:
    assert refused({"port_file": "/x"}) == "--port-file is no setting"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_auth_may_be_off_on_loopback(host: str) -> None:
    config = Config.load({"auth": "off", "host": host}, {})
    assert config.loopback
    assert not config.auth


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.168.1.5", "hub.example", "localhost.example", "127.0.0.1.example"],
)
def test_auth_off_is_refused_where_others_reach_the_hub(host: str) -> None:
    words = refused({"auth": "off"}, {"LIFESIGNS_HOST": host})
    assert words.startswith("auth is off, so host must be a loopback one")
    assert words.endswith(f"it is {host}")
    assert not Config(host=host).loopback


@pytest.mark.parametrize(
    ("low", "text", "high"),
    [
        ("grace_s", "31", "default_ttl_s"),
        ("min_ttl_s", "31", "default_ttl_s"),
        ("default_ttl_s", "86401", "max_ttl_s"),
        ("http_ttl_s", "86401", "max_ttl_s"),
        ("metadata_bytes", "70000", "message_bytes"),
        ("flush_ms", "50", "fold_ms"),
    ],
)
def test_settings_that_do_not_agree_are_told_with_both_values(
    low: str, text: str, high: str
) -> None:
    flags: dict[str, str | None] = {low: text}
    if high == "fold_ms":
        flags["fold_ms"] = "20"
    words = refused(flags)
    assert words.startswith(f"{low} is {text}, and {high} ")
    assert f"{low} must not be more, " in words


def test_lease_of_a_hub_that_one_late_tick_would_lose_is_refused() -> None:
    words = refused({"tick_ms": "600", "node_lease_ms": "2500"})
    assert words.startswith("node_lease_ms is 2500, and tick_ms 600: it must be five ticks")


def test_settings_made_in_code_have_to_agree_too() -> None:
    with pytest.raises(BadValue):
        Config(auth=False, host="0.0.0.0")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().port = 1  # type: ignore[misc]


def test_data_lie_where_the_xdg_rules_say() -> None:
    assert data_home({"XDG_DATA_HOME": "/data", "HOME": "/h"}) == Path("/data/lifesigns")
    assert data_home({"HOME": "/h"}) == Path("/h/.local/share/lifesigns")
    assert data_home({"XDG_DATA_HOME": "data", "HOME": "/h"}) == Path("/h/.local/share/lifesigns")


def test_data_folder_is_absolute_wherever_the_hub_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Config.load({"data_dir": "data"}, {}).data_dir == tmp_path / "data"


def test_misspelt_variables_are_found() -> None:
    environ = {
        **dict.fromkeys(("LIFESIGNS_PROT", "LIFESIGNS_PORT_FILE", "HOME"), "x"),
        **dict.fromkeys(("LIFESIGNS_PORT", "LIFESIGNS_KEY", "LIFESIGNS_KEY_FILE"), "x"),
        **dict.fromkeys(("LIFESIGNS_ADMIN_KEY_FILE", "LIFESIGNS_TEST_SERVER"), "x"),
    }
    assert misspelt(environ) == ("LIFESIGNS_PORT_FILE", "LIFESIGNS_PROT")


def test_client_settings_are_read() -> None:
    environ = {"LIFESIGNS_URL": "https://hub.example/presence", "LIFESIGNS_KEY": SECRET}
    assert ClientConfig.load({}, environ) == ClientConfig("https://hub.example/presence", SECRET)


@pytest.mark.parametrize(
    "url", ["hub.example:8700", "ws://hub", "http://", "http://u:p@hub", "http://hub/?x=1"]
)
def test_address_of_a_hub_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadValue) as caught:
        ClientConfig.load({"url": url}, {})
    assert caught.value.message.startswith(f'--url is "{url}": it must be http://host:port')
