"""A thread pool: one agent with a slot for each thread, which shows how far it has got."""

import time
from concurrent.futures import ThreadPoolExecutor

from lifesigns import sync

THREADS = 4


def resize(picture: str) -> str:
    time.sleep(0.05)  # the work
    return picture


def main(pictures: list[str]) -> None:
    # Counted as stalled when no picture is done for a minute.
    with (
        sync.Agent("resizer", slots=THREADS, capabilities=["resize"], progress_ttl=60) as me,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        me.update(status="working")
        for done, picture in enumerate(pool.map(resize, pictures), 1):
            me.update(task=picture, progress={"done": done, "total": len(pictures)})
        me.update(status="idle")


main([f"{n}.png" for n in range(12)])
