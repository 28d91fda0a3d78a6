"""docker-compose.yml, started by docker-compose on a Docker engine; `make compose-test` asks the stack for more."""

import time
from collections.abc import Iterator

import pytest

from testkit.compose_stack import LONG_RUNNING, ComposeStack
from testkit.docker_engine import engine, missing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """All services, healthy."""
    if reason := missing():
        pytest.skip(reason)
    with engine() as running:
        started = ComposeStack(running, tmp_path_factory.mktemp("compose"))
        started.down()
        try:
            started.up()
            yield started
        finally:
            started.down()


def test_every_service_becomes_healthy_and_stays(stack: ComposeStack) -> None:
    """A folder that a service cannot write lets the engine start it again for ever."""
    seen = {service: stack.inspect(service) for service in LONG_RUNNING}
    assert {one["State"]["Health"]["Status"] for one in seen.values()} == {"healthy"}
    assert {service: one["RestartCount"] for service, one in seen.items()} == dict.fromkeys(LONG_RUNNING, 0)
    assert stack.inspect("topics")["State"]["ExitCode"] == 0


def test_event_becomes_a_row(stack: ComposeStack) -> None:
    """A key as deploy/README.md makes it, a POST to the published port, and a reader's query."""
    key = stack.add_site("shop", "--origin", "https://shop.example")
    event = {"id": "e-1", "type": "pointer", "ts": time.time_ns() // 1_000_000, "t": [0], "x": [1], "y": [2]}
    status, answer = stack.post({"session": "s-1", "events": [event]}, key)
    assert (status, answer["accepted"]) == (200, 1), answer
    stack.wait_for_rows("signals", 1)
