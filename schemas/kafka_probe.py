"""Asks the brokers why a client cannot get in: aiokafka says only that none could be reached."""

import asyncio

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.protocol.metadata import MetadataRequest

from schemas.kafka_access import PROTOCOL, KafkaAccess, refusal_of

ANSWER_SECONDS_MAX = 3.0
CLOSE_SECONDS_MAX = 1.0


async def reason_of(error: BaseException, access: KafkaAccess) -> str:
    """Why a client failed: a sentence where a broker refuses it, else the error's type; takes 3 s at most."""
    return refusal_of(error) or await why_refused(access) or type(error).__name__


async def why_refused(access: KafkaAccess) -> str:
    """Which broker of `bootstrap` refuses a client, why, and what to do; empty where none does."""
    hosts = [(host, port) for host, port, _ in collect_hosts(access.bootstrap, randomize=False)]
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            found = await asyncio.gather(*(_refusal_at(host, port, access) for host, port in hosts))
    except TimeoutError:
        return ""
    said = (f"{host}:{port}: {why}" for (host, port), why in zip(hosts, found, strict=True) if why)
    return next(said, "")


async def _refusal_at(host: str, port: int, access: KafkaAccess) -> str:
    connection = AIOKafkaConnection(host, port, **access.security)
    try:
        return await _refusal_of(connection, access)
    finally:
        # aiokafka 0.14 closes without waiting, and a loop that ends meanwhile leaves the socket open.
        if connection._protocol is not None:
            await asyncio.wait([connection.close()], timeout=CLOSE_SECONDS_MAX)


async def _refusal_of(connection: AIOKafkaConnection, access: KafkaAccess) -> str:
    try:
        await connection.connect()
    except Exception as error:  # aiokafka raises whatever a library below it does
        # A broker without TLS takes the handshake for an endless request, and hangs up.
        hung_up = isinstance(error, ConnectionResetError) and access.protocol.endswith("SSL")
        return refusal_of(error) or f"it hangs up on TLS; if it speaks none there, set {PROTOCOL}" * hung_up
    try:
        answer = await connection.send(MetadataRequest([]))
    except Exception as error:
        # It has told its versions, and hangs up on the first request that needs a user.
        nobody = not access.protocol.startswith("SASL")
        return refusal_of(error) or f"it asks for a user; set {PROTOCOL} to SASL_SSL or SASL_PLAINTEXT" * nobody
    # aiokafka 0.14 takes the refusal of a token for its acceptance: then there is nothing in the next answer.
    refused = access.security.get("sasl_mechanism") == "OAUTHBEARER" and not answer.brokers
    return "it refuses the token; check where it comes from, and the clocks" * refused
