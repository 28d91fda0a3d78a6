"""Asks port 8123, as an analyst does."""

import asyncio

import aiohttp

ANSWER_SECONDS_MAX = 30.0


class Away(Exception):
    """The engine does not answer now."""


class Reader:
    """One client of the stack's ClickHouse."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/"
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Reader":
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._client is not None
        await self._client.close()

    async def lines(self, sql: str, *, final: bool, seconds_max: float = ANSWER_SECONDS_MAX) -> list[str]:
        """An answer's lines in TabSeparated.

        Raises:
            Away: it did not come.
        """
        assert self._client is not None
        parameters = {"database": "unjoin", "final": str(int(final)), "default_format": "TabSeparated"}
        try:
            async with (
                asyncio.timeout(seconds_max),
                self._client.post(self._url, params=parameters, data=sql.encode()) as answer,
            ):
                text = await answer.text()
                if answer.status != 200:
                    raise Away(f"status {answer.status}: {text[:200]}")
                return text.splitlines()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Away(type(error).__name__) from None
