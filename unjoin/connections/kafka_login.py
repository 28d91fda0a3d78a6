"""From settings to what every Kafka client is made with: reads certificates, gets tokens."""

import asyncio
import base64
import ssl
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import AuthenticationFailedError

from schemas.kafka_access import KafkaAccess
from unjoin.settings import Settings, SettingsError

TOKEN_SECONDS_MAX = 10.0
TOKEN_BYTES_MAX = 1_048_576
EARLY = 0.8  # of a token's life, after which the next connection gets a new one


def kafka_access_of(settings: Settings) -> KafkaAccess:
    """How every client reaches the brokers. A role calls it before it is confined.

    Raises:
        SettingsError: a file of a certificate or key is missing, or is none.
    """
    context = _tls_context(settings) if settings.kafka_security_protocol.endswith("SSL") else None
    return KafkaAccess(settings.bootstrap, security_of(settings, context))


def security_of(settings: Settings, context: ssl.SSLContext | None) -> dict[str, Any]:
    """Keyword arguments of aiokafka for TLS and SASL; empty for neither."""
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    if protocol == "PLAINTEXT":
        return {}
    security: dict[str, Any] = {"security_protocol": protocol}
    if context is not None:
        security["ssl_context"] = context
    if not protocol.startswith("SASL"):
        return security
    security["sasl_mechanism"] = mechanism
    if mechanism != "OAUTHBEARER":
        return security | {
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password,
        }
    provider = TokenFromUrl(settings) if settings.kafka_oauth_token_url else TokenFile(settings.kafka_oauth_token_file)
    return security | {"sasl_oauth_token_provider": provider}


def _tls_context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.kafka_tls_ca or None)
    except OSError as error:  # an SSLError is one
        raise _unusable("CA", settings.kafka_tls_ca, error) from None
    if settings.kafka_tls_cert:
        for name, path in (("CERT", settings.kafka_tls_cert), ("KEY", settings.kafka_tls_key)):
            try:
                Path(path).read_bytes()
            except OSError as error:
                raise _unusable(name, path, error) from None
        try:
            # A password would be asked for at the terminal.
            context.load_cert_chain(settings.kafka_tls_cert, settings.kafka_tls_key, password="")
        except OSError as error:
            raise _unusable("KEY", settings.kafka_tls_key, error) from None
    return context


def _unusable(name: str, path: str, error: OSError) -> SettingsError:
    if not isinstance(error, ssl.SSLError):
        return SettingsError(f"UNJOIN_KAFKA_TLS_{name}: {path} cannot be read: {error.strerror}")
    what = "the key of UNJOIN_KAFKA_TLS_CERT, in PEM and without a password" if name == "KEY" else "certificates in PEM"
    return SettingsError(f"UNJOIN_KAFKA_TLS_{name}: {path} does not hold {what}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The secret goes to the address of the setting, and nowhere that its answer names."""

    def redirect_request(self, *_: object) -> None:
        """None: an answer that redirects is an error."""


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """A token that somebody else keeps fresh."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    async def token(self) -> str:
        """The token as it is now.

        Raises:
            AuthenticationFailedError: it cannot be read, which the text says.
        """
        try:
            token = self._path.read_text().strip()
        except OSError as error:
            why = error.strerror
        except ValueError:
            why = "it is no text"
        else:
            if token:
                return token
            why = "it is empty"
        raise AuthenticationFailedError(f"UNJOIN_KAFKA_OAUTH_TOKEN_FILE: no token in {self._path}: {why}")


class _Granted(msgspec.Struct):
    """Source: RFC 6749, 5.1."""

    access_token: str
    expires_in: float = 0.0


class TokenFromUrl(AbstractTokenProvider):  # type: ignore[misc]
    """A token that an OAuth server gives for client credentials, kept for most of its life."""

    def __init__(self, settings: Settings) -> None:
        client = (settings.kafka_sasl_username, settings.kafka_sasl_password)
        quoted = (urllib.parse.quote(one, safe="") for one in client)
        basic = base64.b64encode(":".join(quoted).encode()).decode()
        form = {"grant_type": "client_credentials"}
        if settings.kafka_oauth_scope:
            form["scope"] = settings.kafka_oauth_scope
        self._request = urllib.request.Request(  # noqa: S310  # the setting takes http and https alone
            settings.kafka_oauth_token_url,
            urllib.parse.urlencode(form).encode(),
            {"Authorization": f"Basic {basic}", "Accept": "application/json"},
        )
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._token, self._good_until = "", 0.0

    async def token(self) -> str:
        """The token, a new one once `EARLY` of its life has passed.

        Raises:
            AuthenticationFailedError: the server gives none, which the text says.
        """
        if time.monotonic() >= self._good_until:
            asked = time.monotonic()
            granted = await asyncio.to_thread(self._ask)
            self._token, self._good_until = granted.access_token, asked + EARLY * granted.expires_in
        return self._token

    def _ask(self) -> _Granted:
        try:
            with self._opener.open(self._request, timeout=TOKEN_SECONDS_MAX) as answer:
                return msgspec.json.decode(answer.read(TOKEN_BYTES_MAX), type=_Granted)
        except msgspec.DecodeError:
            why = "its answer holds no access_token"
        except OSError as error:  # a URLError is one
            why = str(getattr(error, "reason", "") or error.strerror or type(error).__name__)
        except Exception as error:  # http.client's own
            why = type(error).__name__
        raise AuthenticationFailedError(f"UNJOIN_KAFKA_OAUTH_TOKEN_URL: no token from it: {why}")
