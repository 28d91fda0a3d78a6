"""Runs a coroutine and demands that it leaves nothing behind: no task, no error that only the loop saw, no socket."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class SkippingLoop(asyncio.SelectorEventLoop):
    """Its time passes at once where nothing is to be done but wait; for what waits for no thread, disk or network."""

    def __init__(self) -> None:
        self.skipped = 0.0
        super().__init__()
        select = self._selector.select  # type: ignore[attr-defined]

        def skip(timeout: float | None = None) -> Any:
            self.skipped += timeout or 0.0
            return select(0)

        self._selector.select = skip  # type: ignore[attr-defined]

    def time(self) -> float:
        return super().time() + self.skipped


def run(
    main: Coroutine[Any, Any, T],
    seconds_max: float = 60.0,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """The coroutine's result; a hang is an error, and so is whatever it left in the loop."""
    seen: list[dict[str, Any]] = []

    async def watched() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
        async with asyncio.timeout(seconds_max):
            result = await main
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks were left: {left}"
        return result

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(watched())
    gc.collect()
    assert not seen, f"the loop saw errors: {seen}"
    return result


def run_skipping(main: Coroutine[Any, Any, T]) -> T:
    """As `run`, on a loop that waits for nothing."""
    return run(main, loop_factory=SkippingLoop)


async def until(condition: Callable[[], bool], seconds_max: float = 20.0) -> None:
    """Returns once the condition holds."""
    async with asyncio.timeout(seconds_max):
        while not condition():  # noqa: ASYNC110 - conditions of real brokers have no event
            await asyncio.sleep(0.005)


async def seconds_of(awaitable: Awaitable[Any]) -> tuple[float, BaseException | None]:
    """Gives the seconds that it took and the error that it ended with."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        await awaitable
    except Exception as error:
        return loop.time() - begun, error
    return loop.time() - begun, None
