"""The texts of a workspace; that their commands run is seen where there is a hub."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace

import pytest

from lifesigns.core.enrolment import Enrolment
from lifesigns.core.workspace import (
    HEARTBEAT,
    IDENTITY,
    NAMES,
    TOOLS,
    Place,
    files,
    folder_name,
    with_token,
)

UUID = "c91361ef-6d85-439c-82e1-8f388a302e6a"
PLACE = Place("http://127.0.0.1:8700", f"/data/{folder_name(UUID)}")
AGENT = Enrolment(UUID, "Bookkeeper", None, "01ARYZ6S41TSV4RRFFQ69G5FAV", PLACE.folder, "k", 1, 1)
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOSTILE = "Größe $(touch /tmp/x) `id` \"q\" 'q' ``` <b> \\ 🐙"


def blocks(text: str) -> list[str]:
    return BLOCK.findall(text)


def test_the_key_stands_in_one_text_and_only_once_it_is_put_in() -> None:
    texts = files(AGENT, UUID, PLACE)
    assert tuple(texts) == NAMES
    tools = with_token(texts[TOOLS], "ls_the_key")
    assert "\nAGENT_TOKEN=ls_the_key\n" in tools
    assert "\nHUB_URL=http://127.0.0.1:8700\n" in tools
    assert tools.replace("ls_the_key", "") == texts[TOOLS]
    assert with_token(tools, "another") == with_token(texts[TOOLS], "another")


@pytest.mark.parametrize("folder", ["/data/plain", "/data/with space/it's $(id) `id`; x"])
def test_every_command_is_sound_wherever_the_folder_lies(folder: str) -> None:
    text = files(AGENT, UUID, Place(PLACE.url, folder))[HEARTBEAT]
    assert len(blocks(text)) == 3
    for block in blocks(text):
        checked = subprocess.run(["bash", "-n"], input=block.encode(), capture_output=True)
        assert checked.returncode == 0, checked.stderr.decode()
        assert not checked.stderr
        assert block.startswith(f"workspace={shlex.quote(folder)}\n")


def test_the_loop_beats_as_often_as_the_terms_say() -> None:
    terms = {"interval_seconds": 7, "missing_tolerance": 21}
    text = files(replace(AGENT, terms=terms), UUID, PLACE)[HEARTBEAT]
    assert "every 7 s" in text
    assert "for 21 s" in text
    loop = blocks(text)[1]
    assert "\ninterval=7\n" in loop
    assert "patience * 2 < 7 ?" in loop, "it never waits longer than that, hub or no hub"
    short = files(replace(AGENT, terms={"interval_seconds": 0.2}), UUID, PLACE)[HEARTBEAT]
    assert "patience * 2 < 1 ?" in blocks(short)[1]


def test_what_others_have_chosen_to_say_stands_in_no_command() -> None:
    odd = replace(
        AGENT,
        name=HOSTILE,
        profile={HOSTILE: "two\nlines"},
        identity="```bash\nrm -r /\n```",
        soul=HOSTILE,
        more={"x": HOSTILE},
    )
    texts = files(odd, UUID, PLACE)
    plain = files(AGENT, UUID, PLACE)
    assert texts[HEARTBEAT] == plain[HEARTBEAT]
    assert texts[TOOLS] == plain[TOOLS]
    assert f"- Name: {HOSTILE}\n" in texts[IDENTITY]
    assert f"- {HOSTILE}: two lines\n" in texts[IDENTITY]


def test_an_identity_says_what_there_is_to_say() -> None:
    whole = replace(
        AGENT, board="b", lead=True, profile={"role": "x"}, identity="I count.", soul="Calm."
    )
    assert (
        files(whole, UUID, PLACE)[IDENTITY]
        == f"""\
# Identity

- Name: Bookkeeper
- Id: {UUID}
- Session: agent:mc-{UUID}:main
- At the gateway: agent-01ARYZ6S41TSV4RRFFQ69G5FAV
- Board: b
- Leads its board
- role: x

I count.

## Soul

Calm.
"""
    )
