"""What it costs a collector to follow requests, in logs and as spans: CPU an acknowledged event, contenders in turns.

python -m bench.following --rounds 5    with the extra `traces`; without it, logs alone
"""

import argparse
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

from bench.collector.__main__ import CONNECTIONS
from bench.collector.contenders import Unjoin
from bench.collector.rounds import environment
from testkit.lists import numbers, rotated
from testkit.machine import spread

EVERY = (1_000, 10, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--events", type=numbers, default=[1, 50], metavar="N,N", help="of a request")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    contenders = [Unjoin(name="nobody followed")]
    contenders += [Unjoin(name=f"every {n} logged", UNJOIN_FOLLOW_EVERY=str(n)) for n in EVERY]
    if find_spec("opentelemetry"):
        contenders += [
            Unjoin(name=f"every {n} logged and sent", UNJOIN_FOLLOW_EVERY=str(n), UNJOIN_TRACES_URL=url) for n in EVERY
        ]
    with environment(contenders) as at:
        for events in options.events:
            found: dict[str, list[float]] = {contender.name: [] for contender in contenders}
            for number in range(options.rounds):
                for contender in rotated(contenders, number):
                    result = at.run(contender, "small", events, CONNECTIONS, options.seconds)
                    found[contender.name].append(result.us_an_event)
            for name, costs in found.items():
                sys.stdout.write(f"{events} events a request, {name}: {spread(costs)} µs an event\n")
    server.shutdown()
    return 0


class _Taken(BaseHTTPRequestHandler):
    """Takes spans and forgets them."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    sys.exit(main())
