"""Every name of a Redis key or channel that holds presence.

A partition's names carry its tag in braces, so that a cluster keeps them in one place and one
script may touch them all. Channels carry the number of the database, because Redis publishes
across databases.
"""

from __future__ import annotations

from binascii import crc_hqx
from functools import lru_cache

# Tags that fall evenly on 3 and on 8 primaries: one in each sixteenth of a cluster's slots.
TAGS = (10, 3, 61, 43, 11, 2, 60, 42, 12, 1, 63, 41, 13, 0, 62, 40)
PARTITIONS = len(TAGS)

# No id and no instance holds it: it divides the parts of a member.
SEPARATOR = "\x1f"

NODES = "ls:nodes"
NODE_COUNTER = "ls:nodecount"
STORE = "ls:store"
SAMPLER = "ls:sampler"  # STRING: which hub samples, with its own end


def slot(text: str) -> int:
    """Hash as Redis Cluster does."""
    return crc_hqx(text.encode(), 0)


def partition(project: str, agent: str, spread: int) -> int:
    """Say where an agent lives: its project is in one partition, or over all."""
    text = project if spread == 1 else f"{project}/{agent}"
    return slot(text) % PARTITIONS


def due(number: int) -> str:
    """ZSET project -> a lower bound of the next thing to sweep."""
    return f"ls:{{{TAGS[number]}}}:due"


def part(number: int) -> str:
    """HASH: the service's last tick, the server it ran on, the last gap."""
    return f"ls:{{{TAGS[number]}}}:part"


@lru_cache(maxsize=4096)
def lane(project: str, number: int) -> tuple[str, ...]:
    """Name the keys of a project in a partition, in the order that all scripts expect."""
    tag = f"ls:{{{TAGS[number]}}}"
    return (
        f"{tag}:meta:{project}",  # HASH epoch, run, seq, last, one count a rank
        f"{tag}:agents:{project}",  # HASH agent -> packed record
        f"{tag}:live:{project}",  # ZSET agent, instance, session -> end of the lease
        f"{tag}:log:{project}",  # STREAM <ms>-<seq> -> change
        f"{tag}:due",
        f"{tag}:turn:{project}",  # ZSET agent -> when its state alters by itself
        f"{tag}:gone:{project}",  # ZSET offline agent -> when it is forgotten
        f"{tag}:part",
        f"{tag}:claims:{project}",  # ZSET claim -> when it ends
        f"{tag}:terms:{project}",  # HASH claim -> who holds it, and how
    )


def past(project: str, number: int, agent: str) -> str:
    """LIST: the last changes of one agent, small."""
    return f"ls:{{{TAGS[number]}}}:past:{project}:{agent}"


def lives(project: str, number: int, agent: str) -> str:
    """LIST: when each life of an agent began and ended."""
    return f"ls:{{{TAGS[number]}}}:lives:{project}:{agent}"


def fence(project: str, number: int, agent: str) -> str:
    """STRING: when an agent was forgotten; no older session makes it again. It ends by itself."""
    return f"ls:{{{TAGS[number]}}}:fence:{project}:{agent}"


def letters(project: str, number: int, agent: str) -> str:
    """STREAM: what an agent was told, and has not acknowledged."""
    return f"ls:{{{TAGS[number]}}}:inbox:{project}:{agent}"


def bell(project: str, number: int, database: int) -> str:
    """Name the channel that tells whose inbox has something new."""
    return f"ls:{{{TAGS[number]}}}:bell:{database}:{project}"


def polled(project: str, number: int, agent: str) -> str:
    """STRING: somebody has asked lately what there is to do for an agent; it ends by itself."""
    return f"ls:{{{TAGS[number]}}}:polled:{project}:{agent}"


def agenda(number: int) -> str:
    """ZSET kind, project, document -> when it is due."""
    return f"ls:{{{TAGS[number]}}}:agenda"


def documents(project: str, number: int, kind: str) -> str:
    """HASH: the documents of a kind."""
    return f"{all_documents(number)}{project}:{kind}"


def all_documents(number: int) -> str:
    """Tell what the names of all documents in a partition begin with."""
    return f"ls:{{{TAGS[number]}}}:docs:"


def index(project: str, number: int, kind: str, name: str) -> str:
    """ZSET document -> score: an order in which documents of a kind are listed."""
    return f"ls:{{{TAGS[number]}}}:index:{project}:{kind}:{name}"


def kinds(project: str, number: int) -> str:
    """SET: of which kinds there are documents."""
    return f"ls:{{{TAGS[number]}}}:kinds:{project}"


def counts(project: str, number: int, name: str) -> str:
    """HASH: what is counted by one name; it ends by itself."""
    return f"ls:{{{TAGS[number]}}}:counts:{project}:{name}"


def all_counts(project: str) -> str:
    """Tell what the names of all that is counted in a project match."""
    return f"ls:{{*}}:counts:{project}:*"


def events(project: str, number: int) -> str:
    """STREAM: what webhooks have to tell."""
    return f"ls:{{{TAGS[number]}}}:outbox:{project}"


def diary(project: str, number: int, book: str, leaf: str) -> str:
    """STREAM: what an agent reported on a topic; without a leaf, what all such names begin with."""
    return f"ls:{{{TAGS[number]}}}:diary:{project}:{book}:{leaf}"


def leaf(agent: str, topic: str) -> str:
    """Name what a diary is of."""
    return f"{agent}{SEPARATOR}{topic}"


def diaries(project: str, number: int, book: str) -> str:
    """ZSET agent, topic -> when something was noted last."""
    return f"ls:{{{TAGS[number]}}}:diaries:{project}:{book}"


def books(project: str, number: int) -> str:
    """SET: in which books there is anything."""
    return f"ls:{{{TAGS[number]}}}:books:{project}"


def samples(project: str, grain: str) -> str:
    """ZSET: samples of a project, packed together -> when the first of them may have been taken."""
    return f"ls:{{{TAGS[partition(project, '', 1)]}}}:{grain}:{project}"


def tally(project: str, number: int, agent: str) -> str:
    """HASH day since 1970 -> how many beats an agent sent."""
    return f"ls:{{{TAGS[number]}}}:tally:{project}:{agent}"


def channel(project: str, number: int, database: int) -> str:
    """Name the channel on which a partition's changes are published."""
    return f"ls:{{{TAGS[number]}}}:ch:{database}:{project}"


def bulletin(project: str, database: int) -> str:
    """Name the channel that tells of whom something was altered that is none of its presence."""
    return f"ls:bulletin:{database}:{project}"


def interest(database: int) -> str:
    """Name the channel on which hubs say whose every beat they want."""
    return f"ls:interest:{database}"


def beats(project: str, database: int) -> str:
    """Name the channel on which every beat of a project's wanted agents is published."""
    return f"ls:beats:{database}:{project}"


def losing(node: str) -> str:
    """STRING: which hub marks the agents of a lost one, with its own end."""
    return f"ls:losing:{node}"


def inbox(database: int, node: str = "") -> str:
    """Name a hub's inbox; without a node, the part that all have in common."""
    return f"ls:node:{database}:{node}"


def member(agent: str, instance: str, session: str) -> str:
    """Name a lease; an old session's lease is another one, so that its renewals miss."""
    return f"{agent}{SEPARATOR}{instance}{SEPARATOR}{session}"
