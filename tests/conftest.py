"""Real parts for tests: a broker for the session, and a whole stack where a test asks for one."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from sinks.clickhouse.embedded import Embedded
from testkit.kafka_node import KafkaNode, kafka_home
from testkit.running_stack import RunningStack

# No test is timed: how long an example takes says more of the machine's other work than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A broker of a test ends before a JVM's optimising compiler has paid for itself.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

SHARED = ("kafka_node", "stack")
RANK = pytest.StashKey[int]()
QUICK = 2 + len(SHARED)
# Ends each of them that runs.
ENDS: list[Callable[[], object]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start processes come first, so that no worker is left alone with one at the end.

    Of them, those that share parts of the session come last: a stack takes a tenth of a core from the first test that
    asks for it to the last, a broker less, whoever is tested meanwhile.
    """
    ranks: dict[Path, int] = {}
    for item in items:
        is_slow = any(map(item.get_closest_marker, ("slow", "kafka", "server", "browser")))
        shared = [2 + rank for rank, name in enumerate(SHARED) if name in getattr(item, "fixturenames", ())]
        ranks[item.path] = max(ranks.get(item.path, 0), int(is_slow), *shared)
    for item in items:
        item.stash[RANK] = ranks[item.path] or QUICK
    items.sort(key=lambda item: item.stash[RANK])


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Ends what the session shares before the quick files, none of which asks for it."""
    if ENDS and nextitem is not None and nextitem.stash[RANK] == QUICK:
        while ENDS:
            ENDS.pop()()


def pytest_collection_finish() -> None:
    """What was imported stays to the end: a collection that looks at it again takes a fifth of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", name="kafka_home")
def _kafka_home() -> Path:
    """Kafka's jars, as `make setup` puts them."""
    return kafka_home()


@pytest.fixture(scope="session")
def kafka_node(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """One real broker for the whole session; tests use topics and groups of their own."""
    node = KafkaNode(kafka_home, tmp_path_factory.mktemp("kafka"))
    node.start()
    ENDS.append(node.stop)
    yield node
    node.stop()


@pytest.fixture(scope="session")
def bootstrap(kafka_node: KafkaNode) -> str:
    """Address of the session's broker."""
    return kafka_node.bootstrap


@pytest.fixture(scope="session")
def stack(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """`unjoin up` on free ports with a folder of its own, for the whole session."""
    running = RunningStack(kafka_home, tmp_path_factory.mktemp("stack"))
    running.start()
    ENDS.append(running.stop)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The one embedded ClickHouse that this process can have, migrated."""
    engine = Embedded(tmp_path_factory.mktemp("clickhouse"))
    engine.migrate()
    yield engine
    engine.close()


@pytest.fixture
def engine(embedded: Embedded) -> Embedded:
    """The embedded ClickHouse with every table empty."""
    for table in ("signals", "analytics", "personal", "labelers", "labels", "dead_letters"):
        embedded.select(f"TRUNCATE TABLE unjoin.{table}", "Null")
    return embedded


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of real data sets, or a skip that says why."""
    folder = os.environ.get("UNJOIN_DATASETS")
    if not folder:
        pytest.skip("UNJOIN_DATASETS names no folder of data sets")
    return Path(folder)
