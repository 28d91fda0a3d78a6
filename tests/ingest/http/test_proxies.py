"""Behind stock proxies that use their connections to the collector again: each client gets its own answers."""

import pytest

from faults.proxies.__main__ import measured
from faults.proxies.running import PROXIES, program_of


@pytest.mark.slow
@pytest.mark.parametrize("name", PROXIES)
def test_no_client_of_a_proxy_is_answered_with_what_another_asked(name: str) -> None:
    """Where proxy and collector disagree on a request's end, the next one on that connection gets its answer."""
    if program_of(name) is None:
        pytest.skip(f"{PROXIES[name][0]} is missing")
    outcome, smuggled = measured(name, 24, 1)
    assert (outcome.texts, smuggled) == ([], [])
    assert outcome.hostile == 24
    assert outcome.answers > 0
