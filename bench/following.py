"""What it costs a collector to follow requests, in logs and as spans: CPU an acknowledged event, contenders in turns.

python -m bench.following --rounds 5    with the extra `traces`; without it, logs alone
python -m bench.following --alone 2>/dev/null    without HTTP and Kafka: CPU a request; the log is standard error
"""

import argparse
import multiprocessing
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

from bench.collector.__main__ import CONNECTIONS
from bench.collector.contenders import Unjoin
from bench.collector.rounds import environment
from ingest.encode.records import Run
from ingest.following import Follower
from schemas.topics import SIGNALS
from testkit.lists import numbers, rotated
from testkit.machine import spread
from unjoin.host.logs import start_logging
from unjoin.host.tracing import spans_sent

EVERY = (1_000, 10, 1)
ALONE_REQUESTS = 2_000
NEVER = 1_000_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--events", type=numbers, default=[1, 50], metavar="N,N", help="of a request")
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taken)
    # A process, so that its CPU is not counted.
    taking = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    taking.start()
    url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    if options.alone:
        _alone(url, options.rounds)
        return 0
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
    return 0


def _alone(url: str, rounds: int) -> None:
    """What choosing and following take of a request of 50 signals; the thread that sends spans counts with it."""
    start_logging("collect")
    runs = [Run(SIGNALS, b"session", 0, [bytes(100)] * 50)]
    ways = [("no request followed", 0, ""), ("another request's turn", NEVER, ""), ("logged", 1, "")]
    ways += [("logged and sent", 1, url)] * bool(find_spec("opentelemetry"))
    found: dict[str, list[float]] = {name: [] for name, _, _ in ways}
    for _ in range(rounds):
        for name, every, to in ways:
            began = time.process_time()
            with spans_sent(to, "collector") as emit:
                follower = Follower(every, emit)
                for _ in range(ALONE_REQUESTS):
                    _, followed = follower.follow(runs)
                    if followed is not None:
                        followed.ended(50, 0, durable=True)
            found[name].append(1e6 * (time.process_time() - began) / ALONE_REQUESTS)
    for name, costs in found.items():
        sys.stdout.write(f"{name}: {spread(costs)} µs a request\n")


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
