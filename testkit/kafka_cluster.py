"""Three brokers as processes, one of which is the controller, too: what a cluster does when some of them are away."""

from pathlib import Path

from testkit.kafka_node import KafkaNode
from unjoin.host.kafka import free_port, new_cluster_id

BROKERS = 3


class KafkaCluster:
    """Brokers numbered from 1 on; the first is the only controller, so that the others can be away together.

    Its methods block; call them with `asyncio.to_thread` where a loop runs.

    Attributes:
        brokers: each to be stopped, killed, paused and started again by itself.
        bootstrap: of all of them.
    """

    def __init__(self, kafka_home: Path, state_dir: Path) -> None:
        cluster_id, controller_port = new_cluster_id(), free_port()
        self.brokers = []
        for number in range(1, BROKERS + 1):
            node = KafkaNode(kafka_home, state_dir / str(number), cluster_id=cluster_id)
            listener = f"PLAINTEXT://127.0.0.1:{node.port}"
            controller = f"CONTROLLER://127.0.0.1:{controller_port}"
            node.more = {
                "node.id": str(number),
                "process.roles": "broker,controller" if number == 1 else "broker",
                "listeners": f"{listener},{controller}" if number == 1 else listener,
                "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
                "offsets.topic.replication.factor": str(BROKERS),
                "transaction.state.log.replication.factor": str(BROKERS),
                # Three brokers share this machine, and may be silent for longer than one (default 9 s).
                "broker.session.timeout.ms": "6000",
                # A copy that falls behind leaves the in-sync ones after so many ms (default 30 s).
                "replica.lag.time.max.ms": "2000",
            }
            self.brokers.append(node)
        self.bootstrap = ",".join(node.bootstrap for node in self.brokers)

    def start(self) -> None:
        """Returns once every broker answers."""
        for node in self.brokers:
            node.start()

    def stop(self) -> None:
        """Stops those that run, the controller last."""
        for node in reversed(self.brokers):
            node.stop()
