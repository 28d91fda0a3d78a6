"""Requests composed from a grammar, held to a model of the contract: answers, rows and counters."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.http_model.client import run_script
from faults.http_model.grammar import Script, script
from tests.ingest.running_collector import RunningCollector, running


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("model")) as collector:
        yield collector


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    return script(lambda options: options[draw(st.integers(0, len(options) - 1))], "e")


def outcomes(collector: RunningCollector) -> Counter[str]:
    prefix = 'unjoin_requests_total{outcome="'
    lines = [line for line in collector.counters.exposition().decode().splitlines() if line.startswith(prefix)]
    return Counter({line[len(prefix) :].partition('"')[0]: int(float(line.rpartition(" ")[2])) for line in lines})


@pytest.mark.slow
@given(scripts())
@settings(max_examples=400, deadline=None)
def test_any_sequence_of_requests_is_answered_stored_and_counted_as_the_contract_says(
    collector: RunningCollector, played: Script
) -> None:
    """Valid or not, split and pipelined anyhow: each request gets its own answer, once, and no other does."""
    before, rows = outcomes(collector), len(collector.producer.records)
    asyncio.run(run_script("127.0.0.1", collector.port, played))
    answered = played.answered
    stored = [
        value[6 : 6 + value[5] // 2].decode() for value in (one.value for one in collector.producer.records[rows:])
    ]
    assert sorted(stored) == sorted(name for exchange in answered for name in exchange.stored)
    assert outcomes(collector) - before == Counter(one.outcome for one in answered if one.outcome)
