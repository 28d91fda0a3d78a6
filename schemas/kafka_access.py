"""How a Kafka client reaches the brokers, and what their refusals mean, in a sentence that says what to do."""

import ssl
from typing import Any

import msgspec

RIGHTS = "give it the rights of its role (`unjoin topics --acls`, docs/kafka-security.md)"
PROTOCOL = "UNJOIN_KAFKA_SECURITY_PROTOCOL"
_NOT_ITS_NAME = "its certificate is not for the name it is called by; name brokers as their certificates do"
# Source of the codes: OpenSSL, include/openssl/x509_vfy.h.
OF_CERTIFICATE = {
    10: "its certificate has expired; renew it, or set the clock of this host",
    62: _NOT_ITS_NAME,
    64: _NOT_ITS_NAME,
}
# By the name of aiokafka's error; {} is what it is about.
OF_BROKER = {
    "SaslAuthenticationFailed": "it refuses the user or the password; check UNJOIN_KAFKA_SASL_USERNAME, "
    "UNJOIN_KAFKA_SASL_PASSWORD, and that the user has a password for UNJOIN_KAFKA_SASL_MECHANISM",
    "UnsupportedSaslMechanismError": "it does not offer this mechanism; "
    "set UNJOIN_KAFKA_SASL_MECHANISM to one of the listener's",
    "IllegalSaslStateError": f"it asks for no user at this port; set another port, or {PROTOCOL} to PLAINTEXT or SSL",
    "TopicAuthorizationFailedError": f"the user may not do this to the topic{{}}; {RIGHTS}",
    "GroupAuthorizationFailedError": f"the user may not use the consumer group{{}}; {RIGHTS}",
    "SecurityDisabled": "every user may do everything, for there is no authorizer; set authorizer.class.name there",
    "ClusterAuthorizationFailedError": f"the user may not do this to the cluster; {RIGHTS}",
}
TLS_ALERT = b"\x15\x03"
"""How an alert begins that answers something other than TLS. Source: RFC 8446, 5.1 and B.1."""


class KafkaAccess(msgspec.Struct, frozen=True):
    """Where the brokers are, and as whom a client comes. Its text leaves out everything but the addresses.

    Attributes:
        bootstrap: host:port, separated by commas.
        security: aiokafka's keyword arguments for TLS and SASL; empty for neither.
    """

    bootstrap: str
    security: dict[str, Any] = {}

    def client(self) -> dict[str, Any]:
        """The keyword arguments that every client of aiokafka is made with."""
        return {"bootstrap_servers": self.bootstrap, **self.security}

    @property
    def protocol(self) -> str:
        """As Kafka calls it: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        return str(self.security.get("security_protocol", "PLAINTEXT"))

    def __repr__(self) -> str:
        return f"KafkaAccess({self.bootstrap}, {self.protocol})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("bootstrap", self.bootstrap), ("protocol", self.protocol)]


def refusal_of(error: BaseException) -> str:
    """What a client did wrong and how to mend it; empty where the error does not tell.

    What went wrong below an error of aiokafka is looked at as well.
    """
    below: BaseException | None = error
    while below is not None:
        if sentence := _sentence_of(below):
            return sentence
        below = below.__cause__ or below.__context__
    return ""


def _sentence_of(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = (
            f"its certificate is not trusted ({error.verify_message}); "
            "name the file of the authority that signed it as UNJOIN_KAFKA_TLS_CA"
        )
        return OF_CERTIFICATE.get(error.verify_code, unknown)
    if isinstance(error, ssl.SSLError):
        if "ALERT" in (error.reason or ""):
            return (
                "it refuses this client's certificate, or that there is none; "
                "name one that its authority signed as UNJOIN_KAFKA_TLS_CERT and UNJOIN_KAFKA_TLS_KEY"
            )
        return f"it speaks no TLS at this port ({error.reason}); set another port, or {PROTOCOL}"
    if isinstance(error, EOFError):
        # aiokafka takes the alert's first bytes for the length of an answer.
        expected = getattr(error, "expected", None) or 0
        speaks_tls = expected.to_bytes(8, "big")[4:].startswith(TLS_ALERT)
        return f"it speaks TLS at this port; set {PROTOCOL} to SSL or SASL_SSL" if speaks_tls else ""
    return _of_kafka(type(error).__name__, error)


def _of_kafka(name: str, error: BaseException) -> str:
    if name == "AuthenticationFailedError":  # ours, about a token
        return str(error.args[0])
    if name == "UnknownTopicOrPartitionError" and error.args:
        return f"{error.args[0]}, or the user may not see it; `unjoin topics` makes topics, and `--acls` gives rights"
    return OF_BROKER.get(name, "").format(_named(error))


def _named(error: BaseException) -> str:
    """The topics or the group that an error of aiokafka names, for the middle of a sentence."""
    found = [arg for arg in error.args if isinstance(arg, str | set | frozenset | list | tuple)]
    names = sorted({name for arg in found for name in ([arg] if isinstance(arg, str) else map(str, arg))})
    # Instead of a name aiokafka gives a sentence here and there.
    return f" {', '.join(names)}" if names and " " not in "".join(names) else ""
