"""Does each alert fire when its fault is made, and none while nothing is wrong?

python -m faults.alerts                            an hour of the rules' time without a fault, then every fault
python -m faults.alerts --only SinkLags            one alert's faults
python -m faults.alerts --healthy-minutes 60 --factor 1 --only none    an hour by the clock

`unjoin up` under load, in front of a ClickHouse server, and a real Prometheus with the rules of deploy/prometheus, of
which every window and `for` is shorter by the factor, and so is the scrape interval: an hour of the rules' time takes
four minutes.
Exit code 0 where every alert fired that should, and none that should not. Needs root, for a disk of its own.
"""

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

from faults.alerts.dashboards import pictured
from faults.alerts.environment import Environment, say
from faults.alerts.faults import FAULTS, LOAD_RATE, Fault
from testkit.kafka_node import kafka_home

AUDIT_EVERY_SECONDS = 240.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="an alert, without `Unjoin` (may be repeated)")
    parser.add_argument("--factor", type=int, default=15)
    parser.add_argument("--healthy-minutes", type=float, default=60.0, help="of the rules' time")
    parser.add_argument(
        "--out",
        type=Path,
        help="a folder for alerts.csv, of which it goes on, and the dashboards as they were meanwhile",
    )
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if not options.only or fault.alert in options.only]
    lines = _read(options.out)
    tried = {(alert, what) for alert, what, fired, *_ in lines if fired == "yes"}
    chosen = [fault for fault in chosen if (fault.alert, fault.what) not in tried]
    with (
        tempfile.TemporaryDirectory(prefix="alerts-", ignore_cleanup_errors=True) as folder,
        Environment(kafka_home(), Path(folder), options.factor) as environment,
    ):
        began = time.time()
        environment.load(LOAD_RATE, "--bots", "0.05")
        false = _healthy(environment, options.healthy_minutes * 60 / options.factor)
        if options.healthy_minutes:
            said = ", ".join(sorted(false)) or "none"
            lines.append(("none", f"{options.healthy_minutes:g} minutes of load", "", "", said))
        try:
            for fault in chosen:
                lines.append(_tried(environment, fault))
        finally:
            _written(options.out, lines)
            if options.out:
                pictured(environment.prometheus, began, options.out)
    return int(bool(false) or any(line[2] == "no" for line in lines))


Line = tuple[str, str, str, str, str]
"""A row of alerts.csv: alert, fault, fired, seconds, beside it."""


def _read(out: Path | None) -> list[Line]:
    if not out or not (out / "alerts.csv").exists():
        return []
    with (out / "alerts.csv").open(newline="") as file:
        return [
            (alert, what, fired, seconds, beside) for alert, what, fired, seconds, beside in list(csv.reader(file))[1:]
        ]


def _written(out: Path | None, lines: list[Line]) -> None:
    if out:
        out.mkdir(parents=True, exist_ok=True)
        with (out / "alerts.csv").open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerows([("alert", "fault", "fired", "seconds", "beside"), *lines])


def _healthy(environment: Environment, seconds: float) -> set[str]:
    """The alerts that fired in that time, none of which should; it is audited meanwhile."""
    began = time.monotonic()
    while (left := began + seconds - time.monotonic()) > 0:
        time.sleep(min(left, AUDIT_EVERY_SECONDS))
        environment.audit()
    fired = environment.prometheus.fired(time.monotonic() - began) if seconds else set[str]()
    say(f"healthy: {seconds:.0f} s at {LOAD_RATE} events/s, fired: {', '.join(sorted(fired)) or 'none'}")
    return fired


def _tried(environment: Environment, fault: Fault) -> Line:
    name = f"Unjoin{fault.alert}"
    _quiet(environment)
    began, fired, error = time.monotonic(), False, ""
    try:
        with fault.make(environment):
            while not (fired := name in environment.prometheus.firing(fault.instance)):
                if time.monotonic() - began > fault.seconds_max:
                    break
                time.sleep(0.5)
            seconds = time.monotonic() - began
    except Exception as failed:  # a fault that cannot be made or mended: the others are tried
        seconds, error = time.monotonic() - began, f" ({type(failed).__name__}: {failed})"
    beside = ", ".join(sorted(environment.prometheus.fired(seconds) - {name})).replace("Unjoin", "") or "none"
    how = f"{'fired' if fired else 'NOT fired'} after {seconds:.0f} s{error}"
    say(f"{fault.alert}: {fault.what}: {how}; beside it: {beside}")
    return fault.alert, fault.what, "yes" if fired else "no", f"{seconds:.0f}", beside


def _quiet(environment: Environment) -> None:
    """Waits until all is over that the fault before may have made, for as long as the longest window and a bit."""
    end = time.monotonic() + 400
    while (firing := environment.prometheus.firing()) and time.monotonic() < end:
        time.sleep(1)
    time.sleep(2)  # so that its last second is none of the next fault's
    if firing:
        say(f"still fires: {', '.join(sorted(firing))}")


if __name__ == "__main__":
    sys.exit(main())
