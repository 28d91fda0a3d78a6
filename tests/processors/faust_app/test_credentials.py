"""What Faust makes of TLS and SASL."""

import ssl
from typing import Any

import pytest
from aiokafka.abc import AbstractTokenProvider
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from processors.faust_app.app import credentials_of

CONTEXT = ssl.create_default_context()


class Token(AbstractTokenProvider):  # type: ignore[misc]
    async def token(self) -> str:
        return ""


TOKEN = Token()
PASSWORD = {"sasl_plain_username": "u", "sasl_plain_password": "p"}


@pytest.mark.parametrize(
    "security",
    [
        {"security_protocol": "SSL", "ssl_context": CONTEXT},
        {"security_protocol": "SASL_SSL", "ssl_context": CONTEXT, "sasl_mechanism": "SCRAM-SHA-512", **PASSWORD},
        {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", **PASSWORD},
        {
            "security_protocol": "SASL_SSL",
            "ssl_context": CONTEXT,
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_oauth_token_provider": TOKEN,
        },
    ],
    ids=lambda security: security.get("sasl_mechanism", "TLS"),
)
def test_faust_tells_its_clients_what_the_others_are_told(security: dict[str, Any]) -> None:
    """The door's consumer and producer are Faust's, made of its own kind of credentials."""
    assert {"ssl_context": None, **security} == credentials_to_aiokafka_auth(credentials_of(security))


def test_without_security_faust_speaks_plaintext() -> None:
    """As every other client."""
    assert credentials_to_aiokafka_auth(credentials_of({})) == {"security_protocol": "PLAINTEXT"}
