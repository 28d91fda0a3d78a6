"""`python -m faults.erasures --crashes 50`: parts of the real stack killed in the middle of erasures, under load.

Each round stores events of somebody, asks that they be erased, and kills a part while that is under way: most often the
sink, before an aimed system call of whatever it does then, or at a random moment; at times Kafka or the collector.
Then it waits until the request's rows are gone. At the end no row of anybody who asked may be left, every row of a
population that nobody asked about has to be there, byte for byte, and the audit has to balance.
"""

import argparse
import asyncio
import json
import os
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from faults.chaos.parts import running_pid_of
from schemas.kafka_access import KafkaAccess
from schemas.subjects.erasures import Erasure, State, erasure_of
from schemas.subjects.selectors import SessionSelector
from testkit.aimed_kill import FOLDERS, RENAMES, SYNCS, Aim, AimedKill, can_aim
from testkit.kafka_node import kafka_home
from testkit.processes import wait_for
from testkit.running_stack import RunningStack
from unjoin.subjects.requests import RequestsError, requests_of

CALLS = {"rename": RENAMES, "fsync": SYNCS, "mkdir": FOLDERS, "unlink": "unlink,unlinkat", "send": "sendto,sendmsg"}
SETTLE_SECONDS_MAX = 120.0
OTHERS, OTHER_EVENTS = 50, 40
SALT = bytes(range(32))
CHECKSUM = "SELECT toString(sum(sipHash64(*))) AS hash, count() AS n FROM {table} WHERE startsWith(session, 'stays-')"


def main() -> int:
    """Runs it; 1 where a row was left, another is missing, or the books do not balance."""
    parser = argparse.ArgumentParser(prog="python -m faults.erasures", description=__doc__.splitlines()[0])
    parser.add_argument("--crashes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=7_200, help="begin no crash later than that")
    options = parser.parse_args()
    console, chance = Console(width=120), random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="unjoin-erasures-") as folder:
        stack = RunningStack(kafka_home(), Path(folder))
        stack.start()
        try:
            return run(stack, options.crashes, options.seconds, chance, console)
        finally:
            stack.stop()


def run(stack: RunningStack, crashes: int, seconds: float, chance: random.Random, console: Console) -> int:
    """The rounds and what is judged at the end."""
    for number in range(OTHERS):
        post(stack, f"stays-{number}", OTHER_EVENTS)
    for table in ("signals", "analytics"):
        assert stack.wait_for_count(f"SELECT count() FROM {table}", OTHERS * OTHER_EVENTS) == OTHERS * OTHER_EVENTS
    before = {table: stack.rows(CHECKSUM.format(table=table)) for table in ("signals", "analytics")}
    inside: Counter[str] = Counter()
    stop = threading.Event()
    loading = threading.Thread(target=load, args=(stack, stop))
    loading.start()
    began = time.monotonic()
    try:
        with Progress(console=console, transient=True) as progress:
            for number in progress.track(range(crashes), description="crashes"):
                if time.monotonic() - began < seconds:
                    inside[crash(stack, f"gone-{number}", number, chance)] += 1
        wait_for(lambda: deleted(stack), "requests are not done", SETTLE_SECONDS_MAX, every_seconds=0.5)
    finally:
        stop.set()
        loading.join()
    left = wait_until_none(stack)
    after = {table: stack.rows(CHECKSUM.format(table=table)) for table in before}
    audit = settled_audit(stack)
    erased = sum(line["erased"] for line in audit["lines"])
    for what, count in sorted(inside.items()):
        console.print(f"{what}: {count}", highlight=False)
    console.print(
        f"{inside.total()} crashes in {time.monotonic() - began:.0f} s; "
        f"rows left of whoever asked {left}; others as before "
        f"{'yes' if before == after else 'NO'}; audit difference {audit['difference']}, {erased} rows erased",
        highlight=False,
    )
    return 0 if not left and before == after and audit["difference"] == 0 else 1


def crash(stack: RunningStack, session: str, number: int, chance: random.Random) -> str:
    """One round; what was killed, and whether the request was under way."""
    persist(lambda: post(stack, session, 30))
    part = {8: "kafka", 9: "collector"}.get(number % 10, "sink")
    pid = running_pid_of(part, stack.pid)
    kind = chance.choice([*CALLS, "moment"]) if part == "sink" and can_aim() else "moment"
    request = persist(lambda: ask(stack, session))
    if kind == "moment":
        time.sleep(chance.random() * 3)
        was = state_of(stack, request) if part != "kafka" else State.ACCEPTED
        os.kill(pid, signal.SIGKILL)
    else:
        log = stack.data_dir / "strace.log"
        kill = AimedKill(pid, Aim(CALLS[kind], chance.randint(1, 12)), log)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        kill.detach()
        if Path(f"/proc/{pid}").exists():
            kind = "moment"
            os.kill(pid, signal.SIGKILL)
        was = state_of(stack, request)
    wait_for(
        lambda: state_of(stack, request) is not State.ACCEPTED, f"{request} is not done", SETTLE_SECONDS_MAX,
        every_seconds=0.3,
    )  # fmt: skip
    return f"{part} before {kind}, {'in the middle' if was is State.ACCEPTED else 'after the rows were gone'}"


def ask(stack: RunningStack, session: str) -> str:
    """Asks as `unjoin erase` does; the request's id."""
    made = erasure_of(
        SessionSelector("dev", session), id=secrets.token_hex(8), reference=session, salt=SALT,
        now_ms=time.time_ns() // 1_000_000,
    )  # fmt: skip

    async def add() -> None:
        async with requests_of(KafkaAccess(stack.bootstrap)) as found:
            await found.add([made])

    try:
        asyncio.run(add())
    except RequestsError as error:
        raise OSError(str(error)) from None
    return made.id


def post(stack: RunningStack, session: str, count: int) -> None:
    """Signals and page views of a session; an event that is sent again is one event."""
    at = time.time_ns() // 1_000_000
    events: list[dict[str, Any]] = []
    for number in range(count):
        events.append({"id": f"{session}-{number}", "ts": at, "type": "pointer", "t": [0], "x": [1], "y": [number]})
        events.append({"id": f"{session}-{number}-a", "ts": at, "type": "page_view", "url": f"https://a.test/{number}"})
    status, answer = stack.post({"session": session, "events": events})
    if status != 200:
        raise urllib.error.URLError(f"{status} {answer}")


def persist(attempt: Callable[[], Any], good: Callable[[Any], bool] = lambda _: True) -> Any:
    """Again until it is good: a part may be on its way back."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        with suppress(OSError):
            if good(found := attempt()):
                return found
        assert time.monotonic() < deadline, "a part does not come back"
        time.sleep(0.3)


def load(stack: RunningStack, stop: threading.Event) -> None:
    """Events of others, all the time."""
    number = 0
    while not stop.wait(0.05):
        number += 1
        with suppress(OSError):
            post(stack, f"load-{number % 500}", 5)


def requests(stack: RunningStack) -> dict[str, Erasure]:
    """Every request, by id; none while Kafka is away."""

    async def read() -> dict[str, Erasure]:
        async with requests_of(KafkaAccess(stack.bootstrap)) as found:
            return found.newest

    with suppress(RequestsError):
        return asyncio.run(read())
    return {}


def state_of(stack: RunningStack, request: str) -> State:
    found = requests(stack).get(request)
    return found.state if found else State.ACCEPTED


def deleted(stack: RunningStack) -> bool:
    found = requests(stack)
    return bool(found) and all(one.state is not State.ACCEPTED for one in found.values())


def wait_until_none(stack: RunningStack) -> int:
    """Rows of whoever asked, once there are none, or time is up."""
    left = [
        stack.wait_for_count(f"SELECT count() FROM {table} WHERE startsWith(session, 'gone-')", 0)
        for table in ("signals", "analytics")
    ]
    return sum(left)


def settled_audit(stack: RunningStack) -> Any:
    done = persist(lambda: stack.command("audit", "--format", "json"), lambda done: done.returncode in (0, 1))
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
