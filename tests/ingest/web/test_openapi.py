"""The OpenAPI document, held to a running collector by schemathesis: what it says is what is answered."""

from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.ingest.running_collector import WIDGET_KEY, RunningCollector, running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    positive_data_acceptance,
]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("openapi")) as collector:
        yield collector


EXAMPLES = 12


def check_operation(operation: schemathesis.APIOperation, mode: GenerationMode, statuses: Counter[int]) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        case.headers.pop("Content-Encoding", None)  # schemathesis would say it, and not do it
        response = case.call_and_validate(headers={"Authorization": f"Bearer {WIDGET_KEY}"}, checks=CHECKS)
        statuses[response.status_code] += 1

    check()


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_operation_answers_as_the_document_says(collector: RunningCollector, mode: GenerationMode) -> None:
    """Clients are generated from it; requests that it allows and others, each answer by status, type and schema."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{collector.port}/openapi.json")
    seen: dict[str, Counter[int]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        statuses = seen[operation.label] = Counter()
        try:
            check_operation(operation, mode, statuses)
        except Unsatisfiable:  # nothing of it can be wrong: it has no parameter
            assert mode is GenerationMode.NEGATIVE
            del seen[operation.label]
    for label, statuses in seen.items():
        print(f"{mode.value} {label}: {', '.join(f'{count} x {status}' for status, count in sorted(statuses.items()))}")
    assert seen
