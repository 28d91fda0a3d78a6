"""Brokers elsewhere: at an address of this machine that no network of the stack has."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from faults.compose.networks import REACH
from faults.compose.report import Report
from faults.compose.traffic import Traffic
from testkit.compose_stack import ComposeStack

OUTSIDE = "192.0.2.1"  # RFC 5737: an address of no host; on loopback while the broker runs
PORT = 19092
ADDRESS = f"{OUTSIDE}:{PORT}"
NAME = "unjoin-test-outside"
TOPICS = """
import asyncio, sys
from aiokafka.admin import AIOKafkaAdminClient

async def topics():
    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])
    await admin.start()
    try:
        print(len(await admin.list_topics()))
    finally:
        await admin.close()

asyncio.run(topics())
"""


def run(stack: ComposeStack, report: Report) -> None:
    """On empty volumes; the stack is gone afterwards."""
    stack.down()
    with _broker(stack):
        with report.check("`stream` as it stands reaches no broker elsewhere"):
            stack.compose("up", "--no-start", "--no-build", "--no-deps", "kafka")
            assert json.loads(stack.on_network("stream", REACH, ADDRESS)) == []
            stack.down()
        with report.check("UNJOIN_KAFKA_BOOTSTRAP and STREAM_INTERNAL=false: events go by a broker elsewhere") as check:
            stack.set(UNJOIN_KAFKA_BOOTSTRAP=ADDRESS, STREAM_INTERNAL="false")
            stack.up()
            traffic = Traffic(stack)
            traffic.post()
            traffic.wait_for_rows()
            topics = [stack.on_network("stream", TOPICS, broker).strip() for broker in (ADDRESS, "kafka:9092")]
            assert topics[1] == "0", topics
            check.said = f"rows of every category; {topics[0]} topics there, none on the stack's own Kafka"
        stack.down()


@contextmanager
def _broker(stack: ComposeStack) -> Iterator[None]:
    """The stack's own kind of broker, in the machine's network."""
    settings = stack.services["kafka"]["environment"] | {
        "KAFKA_LISTENERS": f"PLAINTEXT://{ADDRESS},CONTROLLER://localhost:{PORT + 1}",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{ADDRESS}",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@localhost:{PORT + 1}",
    }
    given = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
    image = stack.services["kafka"]["image"]
    address = ("address", "{}", f"{OUTSIDE}/32", "dev", "lo")
    subprocess.run(["ip", *(part.format("add") for part in address)], check=True)
    try:
        stack.engine.docker("run", "--detach", "--rm", "--network", "host", "--name", NAME, *given, image)
        yield
    finally:
        stack.engine.tried("rm", "--force", "--volumes", NAME)
        subprocess.run(["ip", *(part.format("del") for part in address)], check=True)
