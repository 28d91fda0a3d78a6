"""Limits for the classifiers."""

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small forests spend longer waiting for each other's threads than they take alone, where cores are shared."""
    with threadpool_limits(1):
        yield
