"""What a program asks a hub about others."""

from __future__ import annotations

import asyncio

import pytest

from lifesigns import Agent, Hub, Unavailable
from lifesigns.core.errors import BadValue
from tests.agent import living
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S
from tests.server import free_port


async def test_an_observer_asks_and_is_not_there_itself(hub: RunningHub) -> None:
    async with (
        living(hub, "a1", status="busy", capabilities=["x", "y"]),
        living(hub, "a2", metadata={"m": 1}),
        Hub(hub.url, hub.key) as observer,
    ):
        assert [each["id"] for each in await observer.who()] == ["a1", "a2"]
        assert [each["id"] for each in await observer.who(capability=("x", "y"))] == ["a1"]
        assert [each["id"] for each in await observer.who(state={"available"})] == ["a2"]
        assert [each["id"] for each in await observer.who(metadata={"m": 1})] == ["a2"]
        assert await observer.who(ids="nobody") == []
        (brief,) = await observer.who(ids=["a1"], detail="lite")
        assert "metadata" not in brief

        checked = await observer.check("a1", "nobody", within=60_000)
        assert (checked["a1"]["fresh"], checked["nobody"]["known"]) == (True, False)
        with pytest.raises(BadValue, match="agents"):
            await observer.check()
        with pytest.raises(BadValue, match="filter"):
            await observer.who(colour="red")  # type: ignore[call-arg]


async def test_a_question_of_many_is_asked_in_several(hub: RunningHub) -> None:
    async with living(hub, "a1"), Hub(hub.url, hub.key) as observer:
        names = [f"n{n}" for n in range(2_000)]
        checked = await observer.check(*names, "a1")
        assert list(checked) == [*names, "a1"]
        assert checked["a1"]["alive"]


async def test_it_connects_when_it_is_asked_first_and_asks_over_an_agents_socket(
    hub: RunningHub,
) -> None:
    observer = Hub(hub.url, hub.key)
    assert not observer.connected
    async with Agent("a1", hub.url, hub.key) as me:
        assert (await observer.check("a1"))["a1"]["alive"]
        assert observer.connected
        assert (await me.hub.check("a1"))["a1"]["alive"]
        await observer.close()
    with pytest.raises(Unavailable):
        await observer.check("a1")


async def test_a_question_waits_for_a_hub_but_not_for_ever(fresh_url: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with Hub(url, "", timeout=0.01) as hasty, Hub(url, "", timeout=SOON_S) as patient:
        with pytest.raises(Unavailable):
            await hasty.check("a1")
        with pytest.raises(Unavailable):
            await hasty.who()
        question = asyncio.create_task(patient.check("a1"))
        async with running_hub(fresh_url, port=port, auth=False):
            assert not (await question)["a1"]["known"]
        # What is asked while it is away is asked of the next one.
        question = asyncio.create_task(patient.who())
        async with running_hub(fresh_url, port=port, auth=False):
            assert await question == []


@pytest.mark.parametrize("thread", [False, True])
async def test_who_has_left_says_and_asks_nothing_more(hub: RunningHub, thread: bool) -> None:
    me = Agent("a1", hub.url, hub.key, thread=thread)
    assert not await me.update(status="busy"), "nobody has seen it"
    async with me:
        assert (await me.hub.check("a1"))["a1"]["status"] == "busy"
    assert not await me.update(task="dig")
    for ask in (me.hub.who, me.hub.claim, me.__aenter__):
        with pytest.raises(Unavailable):
            await ask()
    await me.leave()
