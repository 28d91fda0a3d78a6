"""Which exit code a door that ends by itself has: its supervisor waits for a person, or starts it again at once."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from processors.faust_app.batch_handler import OutOfOrder, TooManyDeadLetters
from processors.main import EXIT_HALTED, EXIT_STUCK, _exit_code
from schemas.outcomes import UnjoinError


@pytest.mark.parametrize(("error", "code"), [(OutOfOrder("again"), EXIT_STUCK), (TooManyDeadLetters(), EXIT_HALTED)])
def test_door_waits_for_a_person_only_where_one_can_help(error: UnjoinError, code: int) -> None:
    """A broker that lost its disk has a client read from the log's start: the commit puts that right by itself."""

    async def found() -> int:
        halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        halted.set_result(error)
        processor: Any = SimpleNamespace(halted=halted)
        running = asyncio.create_task(asyncio.sleep(60))
        try:
            return _exit_code(processor, running, None)
        finally:
            running.cancel()

    assert asyncio.run(found()) == code
