"""Starts each proxy on a free port in front of a collector, with connections to it that are kept for reuse."""

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from testkit.processes import wait_for
from unjoin.host.kafka import free_port

WAIT_SECONDS_MAX = 60.0
HERE = Path(__file__).parent

_NGINX = """
daemon off; user {user}; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream collector {{ server 127.0.0.1:{upstream}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/(metrics|readyz) {{ return 403; }}
    location / {{ proxy_pass http://collector; proxy_http_version 1.1; proxy_set_header Host $http_host; {headers} }}
  }}
}}
"""
_NGINX_HEADERS = {
    "nginx": 'proxy_set_header Connection "";',
    # As its documentation says for WebSocket.
    "nginx that passes upgrades on": (
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"
    ),
}
_HAPROXY = """
global
  maxconn 512
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  option http-keep-alive
  http-reuse always
frontend edge
  bind 127.0.0.1:{port}
  http-request deny if {{ path_beg /metrics /readyz }}
  default_backend collector
backend collector
  server collector 127.0.0.1:{upstream}
"""


def _nginx(name: str) -> Callable[[Path, int, int], list[str]]:
    def command(folder: Path, port: int, upstream: int) -> list[str]:
        config = folder / "nginx.conf"
        headers, user = _NGINX_HEADERS[name], getpass.getuser()
        config.write_text(_NGINX.format(folder=folder, port=port, upstream=upstream, headers=headers, user=user))
        return ["nginx", "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]

    return command


def _haproxy(folder: Path, port: int, upstream: int) -> list[str]:
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(port=port, upstream=upstream))
    return ["haproxy", "-db", "-f", str(config)]


def _go(folder: Path, port: int, upstream: int) -> list[str]:
    program = folder / "reverse"
    # As `scripts/setup` builds: the standard library is compiled already.
    command = ["go", "build", "-trimpath", "-o", str(program), str(HERE / "reverse.go")]
    subprocess.run(command, check=True, cwd=folder, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""})
    return [str(program), f"http://127.0.0.1:{upstream}", str(port)]


def _node(folder: Path, port: int, upstream: int) -> list[str]:
    return ["node", str(HERE / "reverse.mjs"), f"http://127.0.0.1:{upstream}", str(port)]


# By name: the program it needs, and what makes its command from a folder, its port and the collector's.
PROXIES: dict[str, tuple[str, Callable[[Path, int, int], list[str]]]] = {
    **{name: ("nginx", _nginx(name)) for name in _NGINX_HEADERS},
    "HAProxy": ("haproxy", _haproxy),
    "Go's httputil.ReverseProxy": ("go", _go),
    "Node's http": ("node", _node),
}


def program_of(name: str) -> str | None:
    """Where the program of a proxy is; None where it is not installed."""
    return shutil.which(PROXIES[name][0])


@contextmanager
def running_proxy(name: str, folder: Path, upstream: int) -> Iterator[int]:
    """Its port, for as long as the context lasts.

    Args:
        upstream: the collector's port.
    """
    port = free_port()
    command = PROXIES[name][1](folder, port, upstream)
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(listens, lambda: (folder / "proxy.log").read_text()[-2_000:], WAIT_SECONDS_MAX, [process])
        yield port
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS_MAX)
