"""Every client is made the same way, and every refusal is a sentence."""

import ast
import ssl
from asyncio import IncompleteReadError
from pathlib import Path

import pytest
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    SecurityDisabled,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)

from schemas.kafka_access import KafkaAccess, refusal_of

ROOT = Path(__file__).parents[2]
CLIENTS = ("AIOKafkaAdminClient", "AIOKafkaConsumer", "AIOKafkaProducer")
PRODUCT = ("ingest", "processors", "schemas", "sinks", "unjoin")


def test_every_client_of_the_product_is_made_with_what_settings_say_of_tls_and_sasl() -> None:
    """One that is left out works on every broker but a secured one."""
    found = 0
    for file in (file for room in PRODUCT for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in CLIENTS:
                found += 1
                passed_on = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg is None]
                assert any(one.endswith(".client()") for one in passed_on), f"{file.relative_to(ROOT)}:{node.lineno}"
    assert found >= 14


def certificate_error(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (SaslAuthenticationFailed("Authentication failed"), "it refuses the user or the password; check "),
        (UnsupportedSaslMechanismError("x"), "it does not offer this mechanism; set UNJOIN_KAFKA_SASL_MECHANISM"),
        (IllegalSaslStateError(object()), "it asks for no user at this port; set another port"),
        (TopicAuthorizationFailedError({"b", "a"}), "the user may not do this to the topic a, b; give it the rights"),
        (TopicAuthorizationFailedError("a"), "the user may not do this to the topic a; give it the rights"),
        (GroupAuthorizationFailedError("g"), "the user may not use the consumer group g; give it the rights"),
        (GroupAuthorizationFailedError("Unable to get it"), "the user may not use the consumer group; give it the"),
        (ClusterAuthorizationFailedError(), "the user may not do this to the cluster; give it the rights"),
        (SecurityDisabled(), "every user may do everything, for there is no authorizer; set"),
        (UnknownTopicOrPartitionError("there is no topic a"), "there is no topic a, or the user may not see it; "),
        (AuthenticationFailedError("no token"), "no token"),
        (certificate_error(62, "m"), "its certificate is not for the name it is called by; name brokers as"),
        (certificate_error(64, "m"), "its certificate is not for the name it is called by; name brokers as"),
        (certificate_error(10, "m"), "its certificate has expired; renew it"),
        (certificate_error(20, "unable"), "its certificate is not trusted (unable); name the file"),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "it refuses this client's certificate, or that there is none"),
        (alert("WRONG_VERSION_NUMBER"), "it speaks no TLS at this port (WRONG_VERSION_NUMBER); set another port"),
        (IncompleteReadError(b"\x02\x02P", 0x15030300), "it speaks TLS at this port; set UNJOIN_KAFKA_SECURITY"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_refusal_says_what_to_do_wherever_it_lies_in_the_chain(error: BaseException, sentence: str) -> None:
    """aiokafka wraps some of them, and passes others on."""
    assert refusal_of(error).startswith(sentence)
    wrapped = KafkaConnectionError("Connection at a:1 closed")
    wrapped.__cause__ = error
    assert refusal_of(wrapped) == refusal_of(error)


@pytest.mark.parametrize("error", [KafkaConnectionError("away"), IncompleteReadError(b"", 4), OSError(111, "refused")])
def test_broker_that_is_away_is_no_refusal(error: BaseException) -> None:
    """Whoever is told to check a password when a broker restarts does not believe it the next time."""
    assert refusal_of(error) == ""


def test_text_of_an_access_holds_addresses_alone() -> None:
    """A config's text ends up in logs and tracebacks."""
    access = KafkaAccess("a:1", {"security_protocol": "SASL_SSL", "sasl_plain_password": "hunter2"})
    assert repr(access) == str(access) == "KafkaAccess(a:1, SASL_SSL)"
    assert access.client()["sasl_plain_password"] == "hunter2"
