"""Three brokers as processes: what a cluster does when some of them are away."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata, PartitionMetadata

from testkit.kafka_node import QUIET, KafkaNode
from testkit.processes import wait_for
from unjoin.host.kafka import free_port, new_cluster_id

BROKERS = 3
CHANGE_SECONDS_MAX = 180.0
ANSWER_SECONDS_MAX = 5.0
POLL_SECONDS = 0.25

T = TypeVar("T")


class KafkaCluster:
    """Brokers numbered from 1 on.

    Its methods block; call them with `asyncio.to_thread` where a loop runs.

    Args:
        controllers: how many brokers, from the first on, are controllers, too. With 1 the others can be away together
            while it runs; with 3 any one of them can be away, the leading controller among them.

    Attributes:
        brokers: each to be stopped, killed, paused and started again by itself.
        bootstrap: of all of them.
    """

    def __init__(self, kafka_home: Path, state_dir: Path, *, controllers: int = 1) -> None:
        cluster_id = new_cluster_id()
        ports = {number: free_port() for number in range(1, controllers + 1)}
        self.brokers = []
        for number in range(1, BROKERS + 1):
            node = KafkaNode(kafka_home, state_dir / str(number), cluster_id=cluster_id)
            listeners = [f"PLAINTEXT://127.0.0.1:{node.port}"]
            if number in ports:
                listeners.append(f"CONTROLLER://127.0.0.1:{ports[number]}")
            node.more = {
                "node.id": str(number),
                "process.roles": "broker,controller" if number in ports else "broker",
                "listeners": ",".join(listeners),
                "controller.quorum.voters": ",".join(f"{voter}@127.0.0.1:{port}" for voter, port in ports.items()),
                "offsets.topic.replication.factor": str(BROKERS),
                "transaction.state.log.replication.factor": str(BROKERS),
                # Of the groups' commits, too: one copy alone takes none.
                "min.insync.replicas": str(BROKERS - 1),
                # Three brokers share this machine, and may be silent for longer than one (default 9 s).
                "broker.session.timeout.ms": "6000",
                # A copy that falls behind leaves the in-sync ones after so many ms (default 30 s).
                "replica.lag.time.max.ms": "2000",
            }
            self.brokers.append(node)
        self.bootstrap = ",".join(node.bootstrap for node in self.brokers)

    def start(self) -> None:
        """Starts those that do not run; returns once every broker answers."""
        down = [node for node in self.brokers if node.pid is None]
        with ThreadPoolExecutor(BROKERS) as threads:  # at once, for controllers wait for each other
            list(threads.map(KafkaNode.start, down))

    def stop(self) -> None:
        """Stops those that run, the first one, which is a controller, last."""
        for node in reversed(self.brokers):
            node.stop()

    def leader_of(self, topic: str, partition: int) -> KafkaNode:
        """The broker that leads a partition; waits until one does."""

        def leader(known: ClusterMetadata) -> int:
            return max(0, int(known.topics[topic].partitions[partition].leader))

        return self.brokers[self._asked(leader, f"{topic}-{partition} has no leader") - 1]

    def leading_controller(self) -> KafkaNode:
        """The controller that leads the quorum, by what its members wrote down; waits until one does."""

        def leader() -> int:
            files = [node.log_dir / "__cluster_metadata-0" / "quorum-state" for node in self.brokers]
            states = [json.loads(file.read_text()) for file in files if file.exists()]
            return max(0, max(states, key=lambda state: int(state["leaderEpoch"]))["leaderId"]) if states else 0

        return self.brokers[wait_for(leader, "no controller leads", CHANGE_SECONDS_MAX) - 1]

    def wait_until_whole(self) -> None:
        """Returns once every broker is there and every copy of every partition is in sync."""
        self._asked(_whole, "copies of partitions stay out of sync")

    def wait_until_out_of_sync(self, node: KafkaNode) -> None:
        """Returns once a broker's copies count no longer, so that they may be lost."""
        number = self.brokers.index(node) + 1
        self._asked(lambda known: number not in _in_sync(known), "a broker stays in sync")

    def wait_until_gone(self, topic: str) -> None:
        """Returns once no broker knows a topic that was deleted."""
        for node in self.brokers:
            self._asked(lambda known: topic not in known.topics, f"{topic} is still there", node.bootstrap)

    def _asked(self, answer: Callable[[ClusterMetadata], T | None], why_not: str, bootstrap: str = "") -> T:
        """The first true answer that the brokers' metadata give."""
        running = ",".join(node.bootstrap for node in self.brokers if node.pid is not None)
        admin = AdminClient({"bootstrap.servers": bootstrap or running, **QUIET})

        def asked() -> T | None:
            try:
                return answer(admin.list_topics(timeout=ANSWER_SECONDS_MAX))
            except (KafkaException, KeyError):
                return None

        return wait_for(asked, why_not, CHANGE_SECONDS_MAX, every_seconds=POLL_SECONDS)


def _partitions(known: ClusterMetadata) -> list[PartitionMetadata]:
    return [one for topic in known.topics.values() for one in topic.partitions.values()]


def _whole(known: ClusterMetadata) -> bool:
    return len(known.brokers) == BROKERS and all(
        one.leader > 0 and len(one.isrs) == len(one.replicas) for one in _partitions(known)
    )


def _in_sync(known: ClusterMetadata) -> set[int]:
    """Brokers that have a copy in sync."""
    return {number for one in _partitions(known) for number in one.isrs}
