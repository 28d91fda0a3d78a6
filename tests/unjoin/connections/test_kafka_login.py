"""Settings to what clients are made with: what does not fit together is said before anything connects."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from aiokafka.errors import AuthenticationFailedError

from testkit.authority import Authority
from unjoin.connections.kafka_login import TokenFile, TokenFromUrl, kafka_access_of, security_of
from unjoin.settings import SettingsError, settings_of

THERE = {"BOOTSTRAP": "a.example:1"}
SCRAM = THERE | {
    "SECURITY_PROTOCOL": "SASL_SSL",
    "SASL_MECHANISM": "SCRAM-SHA-512",
    "SASL_USERNAME": "u",
    "SASL_PASSWORD": "hunter2",
}
OAUTH = THERE | {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "OAUTHBEARER"}


def environment(given: dict[str, str]) -> dict[str, str]:
    return {f"UNJOIN_KAFKA_{name}": value for name, value in given.items()}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def test_without_settings_clients_are_told_nothing() -> None:
    """A client of aiokafka then speaks PLAINTEXT, as Kafka's own do."""
    assert kafka_access_of(settings_of({})).client() == {"bootstrap_servers": "127.0.0.1:9092"}


def test_settings_become_the_arguments_of_a_client() -> None:
    """One function for every client, so that none can be left out of it."""
    context = ssl.create_default_context()
    assert security_of(settings_of(environment(SCRAM)), context) == {
        "security_protocol": "SASL_SSL",
        "ssl_context": context,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "u",
        "sasl_plain_password": "hunter2",
    }
    tls = settings_of(environment(THERE | {"SECURITY_PROTOCOL": "SSL"}))
    assert security_of(tls, context) == {"security_protocol": "SSL", "ssl_context": context}
    file = settings_of(environment(OAUTH | {"OAUTH_TOKEN_FILE": "/token"}))
    assert isinstance(security_of(file, context)["sasl_oauth_token_provider"], TokenFile)
    url = settings_of(
        environment(OAUTH | {"OAUTH_TOKEN_URL": "https://id.example/", "SASL_USERNAME": "u", "SASL_PASSWORD": "p"})
    )
    assert isinstance(security_of(url, context)["sasl_oauth_token_provider"], TokenFromUrl)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL: Invalid enum value"),
        ({"SECURITY_PROTOCOL": "SSL"}, "KAFKA_BOOTSTRAP: name the brokers that speak SSL"),
        (SCRAM | {"SASL_MECHANISM": ""}, "KAFKA_SASL_MECHANISM: SASL_SSL needs it"),
        (SCRAM | {"SASL_MECHANISM": "GSSAPI"}, "KAFKA_SASL_MECHANISM: Invalid enum value"),
        (SCRAM | {"SASL_USERNAME": ""}, "KAFKA_SASL_USERNAME: SCRAM-SHA-512 needs it"),
        (SCRAM | {"SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD: SCRAM-SHA-512 needs it"),
        (SCRAM | {"OAUTH_TOKEN_FILE": "t"}, "KAFKA_OAUTH_TOKEN_FILE: has no effect without OAUTHBEARER"),
        (SCRAM | {"SECURITY_PROTOCOL": "SSL"}, "KAFKA_SASL_MECHANISM: has no effect unless"),
        (SCRAM | {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "TLS_CA": "ca.pem"}, "KAFKA_TLS_CA: has no effect unless"),
        (THERE | {"SASL_PASSWORD": "hunter2"}, "KAFKA_SASL_PASSWORD: has no effect unless"),
        (SCRAM | {"TLS_CERT": "c.pem"}, "KAFKA_TLS_KEY: a certificate of this client's own needs it"),
        (SCRAM | {"TLS_KEY": "k.pem"}, "KAFKA_TLS_CERT: a certificate of this client's own needs it"),
        (OAUTH, "needs either UNJOIN_KAFKA_OAUTH_TOKEN_URL or _FILE"),
        (OAUTH | {"OAUTH_TOKEN_URL": "https://a", "OAUTH_TOKEN_FILE": "t"}, "needs either"),
        (OAUTH | {"OAUTH_TOKEN_URL": "https://a"}, "KAFKA_SASL_USERNAME: UNJOIN_KAFKA_OAUTH_TOKEN_URL needs it"),
        (OAUTH | {"OAUTH_TOKEN_URL": "file:///etc/passwd"}, "KAFKA_OAUTH_TOKEN_URL: Expected"),
        (OAUTH | {"OAUTH_TOKEN_FILE": "t", "OAUTH_SCOPE": "kafka"}, "KAFKA_OAUTH_SCOPE: has no effect with"),
    ],
)
def test_settings_that_do_not_fit_together_are_an_error_that_names_one(given: dict[str, str], sentence: str) -> None:
    """A setting without effect is a password that was believed to protect something."""
    with pytest.raises(SettingsError, match=sentence) as error:
        settings_of(environment(given))
    assert "hunter2" not in str(error.value)


def test_file_that_is_missing_or_holds_something_else_is_named(authority: Authority, tmp_path: Path) -> None:
    """OpenSSL's own words name neither the file nor what should be in it."""
    chain, key = authority.issue("client")
    other_key = authority.issue("other")[1]
    text, missing = tmp_path / "text", tmp_path / "missing"
    text.write_text("no certificate")
    right = {"TLS_CA": str(authority.ca), "TLS_CERT": str(chain), "TLS_KEY": str(key)}
    assert kafka_access_of(settings_of(environment(SCRAM | right))).client()["ssl_context"]
    for wrong, sentence in (
        ({"TLS_CA": str(missing)}, f"TLS_CA: {missing} cannot be read: No such file"),
        ({"TLS_CA": str(text)}, f"TLS_CA: {text} does not hold certificates in PEM"),
        ({"TLS_CERT": str(missing)}, f"TLS_CERT: {missing} cannot be read: No such file"),
        ({"TLS_KEY": str(tmp_path)}, f"TLS_KEY: {tmp_path} cannot be read: Is a directory"),
        ({"TLS_KEY": str(other_key)}, f"TLS_KEY: {other_key} does not hold the key of UNJOIN_KAFKA_TLS_CERT"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            kafka_access_of(settings_of(environment(SCRAM | right | wrong)))


def test_password_is_in_no_text_of_what_clients_are_made_with() -> None:
    """Configs are logged and shown in tracebacks."""
    access = kafka_access_of(settings_of(environment(SCRAM)))
    assert repr(access) == str(access) == "KafkaAccess(a.example:1, SASL_SSL)"


def test_token_file_is_read_at_each_connection(tmp_path: Path) -> None:
    """Whoever keeps it fresh replaces it; a role runs for longer than a token lives."""
    file = tmp_path / "token"
    provider = TokenFile(str(file))
    with pytest.raises(AuthenticationFailedError, match=r"no token in .*: No such file"):
        asyncio.run(provider.token())
    file.write_text("first\n")
    assert asyncio.run(provider.token()) == "first"
    file.write_text("second")
    assert asyncio.run(provider.token()) == "second"
    file.write_text("\n")
    with pytest.raises(AuthenticationFailedError, match="it is empty"):
        asyncio.run(provider.token())


class OAuthServer(HTTPServer):
    """Grants tokens to client `us er` with the secret `pass:word`, as RFC 6749 says it."""

    granted = 0
    lives_seconds = 3_600
    answer: bytes | None = None
    redirects = False


class _Handler(BaseHTTPRequestHandler):
    server: OAuthServer

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        # Section 2.3.1: each is form-encoded before the two are joined.
        known = self.headers["Authorization"] == "Basic dXMlMjBlcjpwYXNzJTNBd29yZA=="
        if not known or form != {"grant_type": ["client_credentials"], "scope": ["kafka"]}:
            return self.send_error(401)
        if self.server.redirects:
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.server.granted += 1
        token = {"access_token": f"token-{self.server.granted}", "expires_in": self.server.lives_seconds}
        body = self.server.answer or json.dumps(token | {"token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def oauth_server() -> Iterator[OAuthServer]:
    server = OAuthServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def provider_of(server: OAuthServer, secret: str = "pass:word") -> TokenFromUrl:
    client = {"SASL_USERNAME": "us er", "SASL_PASSWORD": secret, "OAUTH_SCOPE": "kafka"}
    url = {"OAUTH_TOKEN_URL": f"http://127.0.0.1:{server.server_port}/token"}
    return TokenFromUrl(settings_of(environment(OAUTH | client | url)))


def test_token_of_a_server_serves_many_connections_and_is_replaced_before_it_dies(oauth_server: OAuthServer) -> None:
    """A broker ends connections whose token is over; those that follow need another."""
    provider = provider_of(oauth_server)
    assert [asyncio.run(provider.token()) for _ in range(3)] == ["token-1"] * 3
    oauth_server.lives_seconds = 0
    short = provider_of(oauth_server)
    assert [asyncio.run(short.token()) for _ in range(2)] == ["token-2", "token-3"]


def test_server_that_gives_no_token_is_an_error_without_the_secret(oauth_server: OAuthServer) -> None:
    """It ends up in a log."""
    with pytest.raises(AuthenticationFailedError, match="no token from it: Unauthorized") as error:
        asyncio.run(provider_of(oauth_server, secret="hunter2").token())
    assert "hunter2" not in str(error.value)
    oauth_server.redirects = True
    with pytest.raises(AuthenticationFailedError, match="no token from it: Found"):
        asyncio.run(provider_of(oauth_server).token())
    oauth_server.redirects = False
    oauth_server.answer = b"<html>"
    with pytest.raises(AuthenticationFailedError, match="its answer holds no access_token"):
        asyncio.run(provider_of(oauth_server).token())
