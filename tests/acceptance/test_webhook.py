"""Webhooks with hubs and commands in processes of their own: what is made is told, whoever dies."""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamWriter
from pathlib import Path

from standardwebhooks import Webhook

from lifesigns.core import line
from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.line import line_of
from lifesigns.store import keys
from lifesigns.store.ledger import Write
from tests.acceptance.command import Ended, lifesigns
from tests.hub import ROOT_KEY, HubProcess, hub_process
from tests.patience import SOON_S, until
from tests.receiver import Got, receiver
from tests.station import station


async def webhooks(hub: HubProcess, *args: str) -> Ended:
    return await lifesigns("webhooks", *args, LIFESIGNS_URL=hub.url, LIFESIGNS_KEY=ROOT_KEY)


async def test_a_webhook_is_made_tried_and_looked_at_by_hand(folder: Path) -> None:
    async with receiver() as there, hub_process(folder) as hub:
        made = await webhooks(hub, "add", there.url, "a*", "--on", "agent.*")
        assert made.code == 0
        shown = dict(line.split(maxsplit=1) for line in made.out.splitlines())
        tested = await webhooks(hub, "test", shown["id"])
        assert (tested.code, tested.out) == (0, "delivered: HTTP 204\n")
        async with hub.client() as http:
            await http.put("/v1/pulse/a1", json={"ttl": 1})
            await http.put("/v1/pulse/b1", json={"ttl": 1})
        await until(lambda: len(there.got) == 3)
        for got in there.got:
            Webhook(shown["secret"]).verify(got.body, got.headers)
        assert there.types() == ["webhook.test", "agent.online", "agent.offline"]
        listed = json.loads((await webhooks(hub, "deliveries", shown["id"], "--json")).out)
        assert listed["total"] == 3
        again = await webhooks(hub, "resend", shown["id"], listed["deliveries"][0]["id"])
        assert again.code == 0
        await until(lambda: len(there.got) == 4)
        assert there.got[3].body in (there.got[2].body, there.got[1].body)
        assert (await webhooks(hub, "remove", shown["id"])).code == 0
        assert (await webhooks(hub, "test", shown["id"])).code == 1
        assert shown["secret"] not in hub.log


async def test_what_a_killed_hub_had_in_hand_is_told_by_the_next(fresh_url: str) -> None:
    async def hang(got: Got, writer: StreamWriter) -> None:
        await asyncio.sleep(SOON_S)

    async with receiver() as there:
        there.answers = [hang]
        async with hub_process(fresh_url) as hub, hub.client() as http:
            await http.post("/v1/webhooks", json={"url": there.url})
            await http.put("/v1/pulse/a", json={})
            await until(lambda: there.got)
            await hub.kill()
        assert await pass_time(fresh_url) == 1
        async with hub_process(fresh_url):
            await until(lambda: len(there.got) == 2)
        assert there.got[0].headers["webhook-id"] == there.got[1].headers["webhook-id"]
        assert there.got[0].body == there.got[1].body


async def test_what_happened_before_a_hub_was_killed_is_told_by_the_next(fresh_url: str) -> None:
    agents = [f"a{n}" for n in range(200)]
    async with receiver() as there:
        async with hub_process(fresh_url) as hub, hub.client() as http:
            await http.post("/v1/webhooks", json={"url": there.url, "events": ["agent.online"]})
            await http.post("/v1/pulse", json={"beats": [{"id": agent} for agent in agents]})
            await hub.kill()
        told = len(there.got)
        assert told < len(agents)
        await pass_time(fresh_url)
        async with hub_process(fresh_url):
            await until(lambda: {got.json["data"]["id"] for got in there.got} == {*agents})


async def pass_time(url: str) -> int:
    """Let the time pass for which a hub that was killed had taken messages; answer how many."""
    taken = 0
    async with station(url) as at:
        for number in range(keys.PARTITIONS):
            names = await at.link.ask("HKEYS", keys.documents(DEFAULT_PROJECT, number, line.KIND))
            for name in names:
                doc = await at.ledger.get(DEFAULT_PROJECT, line.KIND, name.decode(), number)
                assert doc is not None
                queue = line_of(doc.body)
                taken += queue.taken_ms > 0
                free = line.Line(queue.webhook, queue.waiting)
                write = Write(line.KIND, doc.id, doc.version, free.body(), free.due_ms)
                await at.ledger.commit(DEFAULT_PROJECT, [write], home=number)
    return taken
