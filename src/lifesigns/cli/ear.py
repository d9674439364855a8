"""How `lifesigns run` learns what a `lifesigns beat` below it has told the hub.

A connection says the whole agent again whenever it is made: what it does not know would be gone
with the hub to which it was told. So `beat` says it here too, over a socket of the two.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lifesigns.core.errors import LifesignsError
from lifesigns.dialects.pulse import OF_THE_WORK

if TYPE_CHECKING:
    from lifesigns.client import Agent

LONGEST = 262_144  # bytes of what is said: more than any hub takes by default
HEARD = b"heard\n"
WAIT_S = 2.0  # a supervisor that does not listen holds no beat up for longer


class Ear:
    """Listens for what is said of an agent of this process; only its user gets there."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._folder: str | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> str | None:
        """Begin to listen; answer where, or None if there is no place for that."""
        try:
            self._folder = tempfile.mkdtemp(prefix="lifesigns-run-")  # its owner's alone
            path = os.path.join(self._folder, "ear")
            self._server = await asyncio.start_unix_server(self._serve, path, limit=LONGEST)
        except OSError:  # a full disk, a path that is too long: the program runs all the same
            return None
        return path

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What is no beat, or one that no hub would take, has been told so by the hub.
        with suppress(ValueError, LookupError, AttributeError, TypeError, OSError, LifesignsError):
            async with asyncio.timeout(WAIT_S):
                said = json.loads(await reader.readline())
                for_whom = said.pop("agent"), said.pop("instance")
                if for_whom == (self._agent.id, self._agent.instance):
                    await self._agent.update(**said)
                writer.write(HEARD)
                await writer.drain()
        writer.close()


def tell_supervisor(path: str, agent: str, instance: str, said: Mapping[str, Any]) -> bool:
    """Tell the `lifesigns run` that listens at a path; answer whether it has heard."""
    if said.get("status") is not None:  # as the hub has it
        said = {**dict.fromkeys(OF_THE_WORK), **said}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(WAIT_S)
            link.connect(path)
            message = {**said, "agent": agent, "instance": instance}
            link.sendall(json.dumps(message).encode() + b"\n")
            return link.recv(len(HEARD)) == HEARD
    except (OSError, ValueError):  # it has ended, or is not on this machine
        return False
