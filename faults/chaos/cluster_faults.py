"""Makes a round's fault in a cluster. Each returns once every process that it took is back."""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial

from confluent_kafka.admin import AdminClient

from faults.chaos.cluster import Cluster
from faults.chaos.faults import Injected
from faults.chaos.log import TOPIC_OF_TABLE, LogTail
from faults.chaos.parts import PART_SECONDS_MAX
from faults.chaos.plan import Round
from schemas.topics import LABELED
from testkit.kafka_node import QUIET, KafkaNode
from testkit.processes import wait_for

LED_TOPICS = (*TOPIC_OF_TABLE.values(), LABELED, "__consumer_offsets")
REMADE_TABLES = ("signals", "analytics", "personal", "labelers")
AWAY_SECONDS = (4.0, 14.0)  # with 6 s of the brokers' session, some before the others notice and some after
DOWN_SECONDS = (0.0, 8.0)
PARTITIONS_MAX = 8
DRAINED_SECONDS_MAX = 120.0


class ClusterInjector:
    """Makes the faults of one cluster.

    Args:
        log: reads a topic to its end before that is deleted.
    """

    def __init__(self, cluster: Cluster, log: LogTail) -> None:
        self._cluster, self._log = cluster, log
        self._kafka = cluster.kafka

    async def inject(self, one: Round) -> Injected:
        """Does it, once every copy of every partition is in sync: what a cluster promises, it promises of one fault."""
        chance = one.chance()
        await asyncio.to_thread(self._kafka.wait_until_whole)
        if one.kind.fault == "made-again":
            return await self._make_again(chance)
        made: dict[str, Callable[[random.Random], Injected]] = {
            "leader:SIGKILL": self._kill_leader,
            "controller:SIGKILL": self._kill_controller,
            "minority:SIGSTOP": lambda chance: self._pause(chance, 1),
            "majority:SIGSTOP": lambda chance: self._pause(chance, 2),
            "majority:SIGKILL": self._kill_majority,
            "brokers:rolling-restart": self._restart_all,
            "broker:disk-lost": self._lose_disk,
            "topic:partitions-added": self._add_partitions,
            "server:SIGKILL": self._kill_server,
        }
        kill_role = partial(self._kill_role, one.kind.part)
        return await asyncio.to_thread(made.get(one.kind.name, kill_role), chance)

    # Brokers.

    def _kill_leader(self, chance: random.Random) -> Injected:
        topic = chance.choice(LED_TOPICS)
        return self._kill(self._kafka.leader_of(topic, 0), chance, f"of {topic}-0")

    def _kill_controller(self, chance: random.Random) -> Injected:
        return self._kill(self._kafka.leading_controller(), chance, "")

    def _kill(self, node: KafkaNode, chance: random.Random, note: str) -> Injected:
        began = time.monotonic()
        node.kill()
        time.sleep(chance.uniform(*DOWN_SECONDS))
        node.start()
        return Injected(began, began, f"{note} back after {time.monotonic() - began:.1f} s".strip())

    def _pause(self, chance: random.Random, count: int) -> Injected:
        nodes, seconds = chance.sample(self._kafka.brokers, count), chance.uniform(*AWAY_SECONDS)
        began = time.monotonic()
        for node in nodes:
            node.pause()
        time.sleep(seconds)
        for node in nodes:
            node.resume()
        return Injected(began, time.monotonic(), f"{seconds:.1f} s")

    def _kill_majority(self, chance: random.Random) -> Injected:
        nodes, seconds = chance.sample(self._kafka.brokers, 2), chance.uniform(*AWAY_SECONDS)
        began = time.monotonic()
        for node in nodes:
            node.kill()
        time.sleep(seconds)
        self._kafka.start()
        return Injected(began, time.monotonic(), f"{time.monotonic() - began:.1f} s")

    def _restart_all(self, chance: random.Random) -> Injected:
        began = time.monotonic()
        for node in chance.sample(self._kafka.brokers, len(self._kafka.brokers)):
            node.stop()
            node.start()
            self._kafka.wait_until_whole()
        return Injected(began, time.monotonic(), f"{time.monotonic() - began:.1f} s")

    def _lose_disk(self, chance: random.Random) -> Injected:
        node = chance.choice(self._kafka.brokers)
        end = chance.choice((node.kill, node.stop))
        began = time.monotonic()
        end()
        self._kafka.wait_until_out_of_sync(node)
        node.lose_disk()
        node.start()
        self._kafka.wait_until_whole()
        return Injected(began, began, f"copied again after {time.monotonic() - began:.1f} s")

    # Topics.

    def _add_partitions(self, chance: random.Random) -> Injected:
        del chance
        began = time.monotonic()
        self._cluster.make_topics(min(PARTITIONS_MAX, self._cluster.partitions + 1))
        return Injected(began, time.monotonic(), f"{self._cluster.partitions} partitions")

    async def _make_again(self, chance: random.Random) -> Injected:
        """As an operator does it: collectors stopped, the topic drained and audited, then deleted and made."""
        table = chance.choice(REMADE_TABLES)
        began = time.monotonic()
        await self._cluster.end("collector")
        await asyncio.to_thread(self._delete_and_make, TOPIC_OF_TABLE[table], table)
        await self._cluster.begin("collector")
        return Injected(began, time.monotonic(), f"{TOPIC_OF_TABLE[table]}, {time.monotonic() - began:.1f} s")

    def _delete_and_make(self, topic: str, table: str) -> None:
        wait_for(lambda: self._drained(table), f"{topic} is not drained", DRAINED_SECONDS_MAX, every_seconds=1.0)
        self._log.read_on()
        admin = AdminClient({"bootstrap.servers": self._cluster.bootstrap, **QUIET})
        admin.delete_topics([topic])[topic].result(DRAINED_SECONDS_MAX)
        self._kafka.wait_until_gone(topic)
        self._cluster.make_topics(again=True)
        self._log.forget(topic)

    def _drained(self, table: str) -> bool:
        done = self._cluster.audit()
        if done.returncode:
            return False
        (line,) = [line for line in json.loads(done.stdout)["lines"] if line["name"] == table]
        return not line.get("held", 0)

    # Roles, and the server.

    def _kill_role(self, role: str, chance: random.Random) -> Injected:
        part = chance.choice(self._cluster.parts[role])
        pid = wait_for(lambda: part.pid, f"{part.spec.name} does not run", PART_SECONDS_MAX)
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        return Injected(began, began, part.spec.name)

    def _kill_server(self, chance: random.Random) -> Injected:
        began = time.monotonic()
        self._cluster.engine.kill()
        time.sleep(chance.uniform(0.1, 2.0))
        self._cluster.engine.start()
        return Injected(began, began)
