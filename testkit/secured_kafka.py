"""A broker as clusters have it: TLS with an own authority, SASL, client certificates, and an authorizer."""

import base64
import json
import time
from pathlib import Path

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from testkit.authority import Authority
from testkit.kafka_node import QUIET, READY_SECONDS_MAX, KafkaNode
from unjoin.host.kafka import free_port

HOST = "127.0.0.1"
LOGIN = "org.apache.kafka.common.security"
ITERATIONS = 4_096


class SecuredKafka:
    """One node, whose test has an open listener of its own: there it is the super user, and so is the node itself.

    Args:
        users: passwords by name, for SCRAM and for PLAIN.
        admin: the one of them that may do everything.

    Attributes:
        node: the node; its `bootstrap` is the open listener.
        sasl: host:port of SASL over TLS, of every mechanism.
        sasl_open: of SASL without TLS.
        tls: of TLS where a client has to show a certificate; its common name is the user.
        authority: whose certificates the node trusts, and has one of.
    """

    def __init__(self, kafka_home: Path, folder: Path, users: dict[str, str], admin: str) -> None:
        self._users = users
        self.authority = Authority(folder / "authority")
        self.node = KafkaNode(kafka_home, folder / "node")
        self._log = folder / "node" / "node.log"
        sasl, sasl_open, tls = (free_port() for _ in range(3))
        self.sasl, self.sasl_open, self.tls = (f"{HOST}:{port}" for port in (sasl, sasl_open, tls))
        controller = free_port()
        clients = {"PLAINTEXT": self.node.port, "SASL": sasl, "SASLOPEN": sasl_open, "TLS": tls}
        advertised = ",".join(f"{name}://{HOST}:{port}" for name, port in clients.items())
        chain, key = self.authority.issue("broker")
        keystore = folder / "broker.pem"
        keystore.write_bytes(key.read_bytes() + chain.read_bytes())
        known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
        self.node.more = {
            "listeners": f"{advertised},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": advertised,
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,"
            "SASLOPEN:SASL_PLAINTEXT,TLS:SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.ca),
            "listener.name.tls.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+)$/$1/",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{admin}",
        }
        for listener in ("sasl", "saslopen"):
            prefix = f"listener.name.{listener}"
            self.node.more |= {
                f"{prefix}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
                f"{prefix}.plain.sasl.jaas.config": f"{LOGIN}.plain.PlainLoginModule required {known};",
                # Kafka's own validator of tokens that nobody signed: of the client's side it shows the same.
                f"{prefix}.oauthbearer.sasl.jaas.config": f"{LOGIN}.oauthbearer.OAuthBearerLoginModule required;",
                **{
                    f"{prefix}.scram-sha-{size}.sasl.jaas.config": f"{LOGIN}.scram.ScramLoginModule required;"
                    for size in (256, 512)
                },
            }

    def start(self) -> None:
        """Returns once it answers and knows its users."""
        self.node.start()
        admin = AdminClient({"bootstrap.servers": self.node.bootstrap, **QUIET})
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            credentials = [
                UserScramCredentialUpsertion(name, ScramCredentialInfo(mechanism, ITERATIONS), password.encode())
                for name, password in self._users.items()
            ]
            for done in admin.alter_user_scram_credentials(credentials).values():
                done.result(READY_SECONDS_MAX)

    def refusals(self, user: str, resource: str) -> int:
        """How often the authorizer has refused something to a user, as it says it: `Topic:LITERAL:name`."""
        told = (line for line in self._log.read_text().splitlines() if f"User:{user} is Denied" in line)
        return sum(f"on resource = {resource} " in line for line in told)


def unsigned_token(user: str, seconds: float = 3_600) -> str:
    """A token as Kafka's unsecured validator takes it.

    Source: RFC 7519, section 6.
    """
    now = time.time()
    claims = {"sub": user, "iat": now, "exp": now + seconds}
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, claims))
    return b".".join([*parts, b""]).decode()
