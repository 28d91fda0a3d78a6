"""The `unjoin` command. Every error that a user can mend ends here, as one sentence, without a traceback."""

import argparse
import asyncio
import datetime
import io
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from schemas.outcomes import UnjoinError
from unjoin import installed_version
from unjoin.export.arguments import DATASETS, UNNAMED, add_export_arguments
from unjoin.host.logs import is_json, start_logging
from unjoin.keys.command import add_keys_arguments, run_keys
from unjoin.output import add_format
from unjoin.settings import Settings, settings_of
from unjoin.sites import overlap_hours, quota
from unjoin.subjects.arguments import (
    add_search_arguments,
    add_selector_arguments,
    refuse_ignored_of_subject,
    selector_named,
)
from unjoin.subjects.erase_arguments import add_erase_arguments, refuse_ignored_of_erase
from unjoin.terminal import escaped
from unjoin.timestamps import timestamp_ms

log = logging.getLogger(__name__)


class AttackNotInstalled(UnjoinError):
    """The attacks are not here; the text says where they are."""


CANNOT_TELL = 3  # 1 says that something is missing, or was refused

Command = Callable[[argparse.Namespace, Settings, Console], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code.

    0 done, 1 refused with a reason, 2 wrong usage, 3 `audit` or a search cannot tell, 4 nothing is stored of `subject`.
    """
    options = options_of(sys.argv[1:] if arguments is None else arguments)
    console = Console(
        stderr=options.command in ("audit", "export", "replay", "simulate", "subject")
    )  # what waits; results: output
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of a locale that cannot write what somebody sent
    start_logging(options.command)
    try:
        command: Command = options.run
        code = command(options, settings_of(), console)
        sys.stdout.flush()
        return code
    except UnjoinError as error:
        if is_json(options.command):
            log.error("%s", error)
            return 1
        text = escaped(f"unjoin: {error}")
        Console(stderr=True).print(text, style="bold red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output, as `head` does, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """What a command line asks for; wrong usage ends the process with 2."""
    given = list(arguments)
    if given[:1] == ["attack"]:
        given.insert(1, "--")  # else argparse takes the attacks' options for its own
    if given[:1] == ["export"] and given[1:2] not in ([], ["-h"], ["--help"], *([name] for name in DATASETS)):
        given[1:1] = [DATASETS[0], UNNAMED]
    return _parser().parse_args(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="unjoin", description="Event ingestion whose labels cannot be joined back.")
    parser.add_argument("--version", action="version", version=f"unjoin {installed_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("up", _up, "run the whole pipeline on this machine")
    collect = add("collect", _collect, "run a collector: HTTP in, Kafka out")
    collect.add_argument("--playground", action="store_true", help="serve the page at / to loopback")
    collect.add_argument("--door-metrics", default="", metavar="URL", help="a processor's metrics, for the page")
    collect.add_argument("--workers", type=int, metavar="N", help="processes; default UNJOIN_COLLECT_WORKERS")
    collect.add_argument("--worker", help=argparse.SUPPRESS)  # NUMBER/COUNT, from `unjoin collect --workers`
    add("process", _process, "run a processor: the door that labels go through")
    add("sink", _sink, "run the sink: Kafka in, ClickHouse out")
    topics = add("topics", _topics, "create the topics, or bring them to their settings")
    topics.add_argument(
        "--acls", nargs="?", const="User:unjoin-{user}", metavar="PRINCIPAL",
        help="then give the user of each role its rights; default User:unjoin-{user}, as User:unjoin-collector",
    )  # fmt: skip
    add("migrate", _migrate, "bring the database's tables up to date, as a sink does when it starts")

    query = add("query", _query, "run SQL where the sink writes")
    query.add_argument("sql", nargs="?")
    query.add_argument("--file", type=Path, help="a file of SQL instead, as those in docs/questions")
    query.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE",
        help="the value of {NAME:Type} in the SQL (may be repeated)",
    )  # fmt: skip
    query.add_argument("--format", help="table (the default), json, csv, or a ClickHouse format such as JSONEachRow")

    add_export_arguments(add("export", _export, "write labels to files, without what few say"))

    _add_simulate(add("simulate", _simulate, "post realistic traffic of many sessions to a collector"))

    replay = add("replay", _replay, "put dead letters back on their topic, byte for byte")
    replay.add_argument("--reason", action="append", default=[], help="only this reason (may be repeated)")
    replay.add_argument("--topic", action="append", default=[], help="only from this topic (may be repeated)")
    replay.add_argument("--dry-run", action="store_true", help="count, and write nothing")
    replay.add_argument(
        "--from-start", action="store_true", help="from the oldest dead letter, not from where the last such call ended"
    )

    add_format(replay)

    audit = add("audit", _audit, "add up what became of every accepted record; 0 where nothing is missing, else 1")
    add_format(audit)
    audit.add_argument(
        "--textfile", type=Path, metavar="FILE", help="write the verdict there besides, for node_exporter to show"
    )
    audit.add_argument(
        "--spool", action="append", default=[], type=Path, metavar="DIR", help="a collector's spool (may be repeated)"
    )
    audit.add_argument(
        "--since",
        type=timestamp_ms,
        metavar="TIME",
        help="leave out rows and dead letters of before: of a topic that was made again",
    )

    rewind = add("rewind", _rewind, "let a new, another or a restored database be filled from what Kafka still holds")
    rewind.add_argument("--table", action="append", default=[], help="only this table (may be repeated)")
    rewind.add_argument(
        "--to", type=_rewind_to, metavar="TIME", help="`earliest` (the default), or the time of the backup"
    )
    rewind.add_argument("--yes", action="store_true", help="do it; without, it is only shown")
    add_format(rewind)

    attack = add("attack", _attack, "run the linkage attacks on a recorded day (from a checkout)")
    attack.add_argument("arguments", nargs=argparse.REMAINDER, help="see `unjoin attack --help`")

    add_erase_arguments(add("erase", _erase, "delete what is kept of one person, everywhere, and show how far that is"))
    _add_subject(
        add("subject", _subject, "say what is stored of one person; 0 where something is, 4 where nothing is, else 1")
    )
    _add_sites(add("sites", _sites, "add, list, rotate and revoke the keys of sites"))
    sdk = add("sdk", _sdk, "print the script tag of the browser SDK, pinned by hash and integrity")
    sdk.add_argument("--endpoint", help="where pages reach the collector; default the one of the settings")
    sdk.add_argument("--key", default="dev-browser-key", help="the site's browser key")
    add_keys_arguments(add("keys", _keys, "list, rotate and destroy the keys of the day that unlink labels"))
    return parser


def _add_simulate(simulate: argparse.ArgumentParser) -> None:
    simulate.add_argument("--url", default=None, help="the collector; default the one of the settings")
    simulate.add_argument("--events", type=int, default=10_000)
    simulate.add_argument("--sessions", type=int, default=0, help="0 for one per hundred events")
    simulate.add_argument("--seed", type=int, default=1)
    simulate.add_argument("--rate", type=float, default=0, help="events a second; 0 as fast as it goes")
    simulate.add_argument("--concurrency", type=int, default=16)
    simulate.add_argument("--batch-events", type=int, default=50)
    simulate.add_argument("--browser-key", default="dev-browser-key")
    simulate.add_argument("--server-key", default="dev-server-key")
    simulate.add_argument("--categories", default=argparse.SUPPRESS, help="comma-separated; default all")
    simulate.add_argument("--verdicts", type=float, default=0.2, help="share of sessions that the service judges")
    simulate.add_argument("--bots", type=float, default=0.0, help="share of sessions that are bots")
    simulate.add_argument("--retry-seconds", dest="retry_seconds_max", type=float, default=120, metavar="SECONDS")
    simulate.add_argument("--allow-remote", action="store_true", help="send to a collector that is not on this machine")
    simulate.add_argument("--summary", type=Path, help="write what was sent and accepted to this file, as JSON")
    add_format(simulate)


def _add_subject(subject: argparse.ArgumentParser) -> None:
    add_selector_arguments(subject)
    subject.add_argument("--export", metavar="FILE", help="write it all to this file as JSON; `-` for the output")
    subject.add_argument(
        "--search", action="store_true", help="look for it everywhere, as somebody would who has taken the disks"
    )
    add_search_arguments(subject, "--search")
    add_format(subject)


def _add_sites(sites: argparse.ArgumentParser) -> None:
    actions = sites.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="add a site, or a key to a site; prints the key")
    add.add_argument("name")
    add.add_argument("--origin", action="append", default=[], help="an origin its pages have (may be repeated)")
    add.add_argument("--categories", default=None, help="what the key may write; default signals,labeled")
    add.add_argument("--server", action="store_true", help="a secret key for a server, shown once")
    add.add_argument(
        "--quota", type=quota, default=0, metavar="N", help="events a second; default the collectors' setting"
    )
    consent = actions.add_parser("consent", help="say what a site stores of visitors who decline; see docs/rights.md")
    consent.add_argument("name")
    consent.add_argument("--necessary", default="", help="what it stores whatever a visitor says: signals, analytics")
    consent.add_argument("--opt-in", default="", help="what it stores of visitors who said yes alone: the same")
    add_format(actions.add_parser("list", help="list sites and keys; secret keys show their first characters alone"))
    changes = {
        "rotate": "replace a key; prints the new one",
        "revoke": "revoke a key",
        "quota": "set how many events a second a key may send",
    }
    for name, text in changes.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("name")
        action.add_argument("key", help="the key, or its first characters as `list` shows them")
        if name == "rotate":
            action.add_argument(
                "--overlap-hours", type=overlap_hours, default=0, metavar="H",
                help="for so long the old key can still be used; default 0, for one that leaked",
            )  # fmt: skip
        if name == "quota":
            action.add_argument("quota", type=quota, metavar="N", help="0 for the collectors' setting")


def _up(_: argparse.Namespace, settings: Settings, console: Console) -> int:
    from unjoin.host.stack import run_stack

    return asyncio.run(run_stack(settings, console))


def _collect(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from unjoin.roles import run_collector

    workers = settings.collect_workers if options.workers is None else options.workers
    if options.worker is None and workers != 1:
        from unjoin.host.workers import run_workers

        passed_on = ["--playground"] * options.playground + ["--door-metrics", options.door_metrics]
        return asyncio.run(run_workers(settings, workers, passed_on, console))
    return run_collector(
        settings, playground=options.playground, door_metrics_url=options.door_metrics, worker=options.worker
    )


def _sdk(options: argparse.Namespace, settings: Settings, _: Console) -> int:
    from ingest.web.sdk_files import current_sdk

    endpoint = options.endpoint or f"http://{settings.http_host}:{settings.http_port}"
    sys.stdout.write(current_sdk().tag(endpoint, options.key, settings.path_alias) + "\n")
    return 0


def _process(_: argparse.Namespace, settings: Settings, __: Console) -> int:
    from unjoin.roles import run_processor

    return run_processor(settings)


def _sink(_: argparse.Namespace, settings: Settings, __: Console) -> int:
    from unjoin.roles import run_sink

    return run_sink(settings)


def _topics(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from unjoin.connections.kafka_login import kafka_access_of
    from unjoin.host import kafka
    from unjoin.host.kafka_acls import grant_rights
    from unjoin.roles import topics_of

    access = kafka_access_of(settings)

    async def create() -> kafka.TopicChanges:
        await kafka.wait_until_reachable(access, seconds_max=60)
        changes = await kafka.ensure_topics(access, topics_of(settings), settings.replication_factor)
        if options.acls:
            count = await grant_rights(access, options.acls)
            changes.notes.append(f"{count} rules let {options.acls} do what its role does; rules that were there stay")
        return changes

    changes = asyncio.run(create())
    console.print(f"created: {', '.join(changes.created) or 'nothing, all were there'}", highlight=False)
    for line in (*(f"changed: {change}" for change in changes.changed), *changes.notes):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def _migrate(_: argparse.Namespace, settings: Settings, __: Console) -> int:
    from unjoin.roles import run_migrations

    return run_migrations(settings)


def _query(options: argparse.Namespace, settings: Settings, _: Console) -> int:
    from unjoin.query import parameter, run_query, sql_of

    parameters = dict(parameter(text) for text in options.param)
    run_query(settings, sql_of(options.sql, options.file, parameters), options.format, parameters)
    return 0


def _export(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from unjoin.export.command import run_export

    return run_export(options, settings, console)


def _simulate(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from unjoin.simulator.simulate import run_simulate

    return run_simulate(options, settings, console)


def _replay(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from unjoin.connections.kafka_login import kafka_access_of
    from unjoin.keys.keyring import Keyring
    from unjoin.replay import ReplayOptions, replay, show

    wanted = ReplayOptions(
        kafka=kafka_access_of(settings),
        today=datetime.datetime.now(datetime.UTC).date(),
        reasons=frozenset(options.reason),
        topics=frozenset(options.topic),
        dry_run=options.dry_run,
        from_start=options.from_start,
        epoch_keys=Keyring(settings.epoch_keys_dir).existing_key_of,
    )
    show(asyncio.run(replay(wanted, console)), options.format, dry_run=options.dry_run)
    return 0


def _audit(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from unjoin.audit.command import run_audit
    from unjoin.audit.report import show, write_textfile
    from unjoin.audit.snapshot import AuditError

    try:
        audit = run_audit(settings, options.spool, console, options.since)
        if options.textfile:
            write_textfile(audit, options.textfile, time.time())
    except AuditError as error:
        text = escaped(f"unjoin: {error}")
        console.print(text, style="bold red", markup=False, highlight=False, soft_wrap=True)
        return CANNOT_TELL
    show(audit, options.format)
    return audit.exit_code


def _subject(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from unjoin.subjects.export import NOTHING_STORED, run_subject

    refuse_ignored_of_subject(options)
    selector = selector_named(options)
    if not options.search:
        return run_subject(settings, selector, options.export, options.format)
    from unjoin.subjects.search.command import search_everywhere, show, texts_of, write_report

    searched = search_everywhere(settings, texts_of(selector, options.email, options.also), console)
    show(searched, options.format)
    if options.report:
        write_report(searched, options.report)
    return 0 if searched.found else CANNOT_TELL if searched.blind else NOTHING_STORED


def _erase(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    refuse_ignored_of_erase(options)
    if options.verify is not None:
        from unjoin.subjects.search.verify import run_verify

        return run_verify(options, settings, console)
    from unjoin.subjects.erase import run_erase

    return run_erase(options, settings, console)


def _rewind_to(text: str) -> int | None:
    return None if text == "earliest" else timestamp_ms(text)


def _rewind(options: argparse.Namespace, settings: Settings, _: Console) -> int:
    from unjoin.roles import run_rewind

    run_rewind(settings, options.table, options.to, really=options.yes, form=options.format)
    return 0


def _attack(options: argparse.Namespace, _: Settings, __: Console) -> int:
    checkout = Path(__file__).parents[1]
    if not (checkout / "attacks" / "linkage").is_dir():
        raise AttackNotInstalled("the attacks are part of a checkout: clone the repository, `make setup-test` in it")
    arguments = [argument for argument in options.arguments if argument != "--"]
    command = [sys.executable, "-m", "attacks.linkage", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(checkout)}, check=False).returncode


def _sites(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from unjoin.sites import run_sites

    return run_sites(options, settings.sites_file, console)


def _keys(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    return run_keys(options, settings, console, datetime.datetime.now(datetime.UTC))


if __name__ == "__main__":
    sys.exit(main())
