"""The documents say what the code does, and their links lead somewhere."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from schemas.outcomes import EXPLANATION, RejectionReason, RequestError
from unjoin.audit.balance import Line
from unjoin.cli import options_of
from unjoin.settings import Settings

ROOT = Path(__file__).parents[1]
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "deploy" / "README.md",
    *(ROOT / "docs").rglob("*.md"),
]


@pytest.mark.parametrize("reason", [*RejectionReason, *RequestError])
def test_every_reason_is_documented(reason: RejectionReason | RequestError) -> None:
    """A client that meets a reason must find what it means."""
    assert f"| `{reason}` | {EXPLANATION[reason]} |" in (ROOT / "docs" / "http.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """A document that points at a file that moved sends its reader away."""
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_commands_of_runbooks_are_commands(runbook: Path) -> None:
    """Whoever is woken copies them; this is no time to find out how an option is spelled now."""
    shell = _shell(runbook)
    called = re.findall(r"^(?:UNJOIN_\S+ )*unjoin (.*)$", shell, re.M)
    called += re.findall(r"^docker compose run --rm \w+ (.*)$", shell, re.M)
    for line in called:
        options_of(_words(line))


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_services_and_settings_of_runbooks_exist(runbook: Path) -> None:
    """A service that is called otherwise now cannot be stopped; a setting that is, is an error at the role's start."""
    services = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])
    for line in re.findall(r"^docker compose (.*)$", _shell(runbook), re.M):
        verb, *words = _words(line)
        named = [word for word in words if not word.startswith("-") and not word.isdecimal()]
        one_alone = verb in ("exec", "run")
        assert set(named[:1] if one_alone else named) <= services, line
    for name in re.findall(r"UNJOIN_([A-Z_]+)", runbook.read_text()):
        assert name.lower() in Settings.__struct_fields__, name


def test_what_runbooks_look_for_in_logs_is_logged() -> None:
    """A search that finds nothing says that all is well."""
    sources = [
        path.read_text() for room in ("ingest", "processors", "sinks", "unjoin") for path in (ROOT / room).rglob("*.py")
    ]
    logged = '"level": "error" ' + " ".join(re.findall(r'log\.\w+\(\s*f?"([^"]*)"', "".join(sources)))
    for runbook in RUNBOOKS:
        for line in re.findall(r"\| grep (.*)$", _shell(runbook), re.M):
            pattern = _words(line)[-1]
            assert re.search(pattern, logged, re.I), line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_documents_are_commands(document: Path) -> None:
    """The first thing that a newcomer does is to copy one."""
    code = "\n".join(re.findall(r"^ *```\w*\n(.*?)^ *```", document.read_text(), re.M | re.S))
    called = re.findall(r"^ *(?:\.venv/bin/)?unjoin (.*(?:\\\n.*)*)$", code, re.M)
    called += re.findall(r"^\| `unjoin ([^`]*)`", document.read_text(), re.M)
    for line in called:
        options_of(_words(line))


def _words(line: str) -> list[str]:
    """Of a command line, as its shell splits it."""
    words = shlex.split(line.replace("\\\n", ""), comments=True)
    return words[: min((words.index(mark) for mark in ("|", ">", "&&", ";") if mark in words), default=len(words))]


def _shell(document: Path) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.M | re.S))


def test_glossary_has_every_outcome_and_no_word_twice() -> None:
    """Whoever reads a figure of the audit must find what it counts; two meanings of one word are none."""
    cells = re.findall(r"^\| ([^|]+?) \|", (ROOT / "docs" / "glossary.md").read_text(), re.M)
    words = [word for cell in cells if cell not in ("word", "---") for word in cell.split(", ")]
    assert [word for word in words if words.count(word) > 1] == []
    counted = [name.replace("_", " ") for name in Line.__struct_fields__ if name not in ("name", "excess", "before")]
    assert {word.replace("dead lettered", "dead-lettered") for word in counted} - {"verdicts"} <= set(words)


def test_places_that_the_glossary_names_exist() -> None:
    """A word whose place has moved is explained nowhere."""
    for place in re.findall(r"\| `([^`|]+)` \|$", (ROOT / "docs" / "glossary.md").read_text(), re.M):
        assert list(ROOT.glob(place)), place


def test_readme_justifies_every_dependency() -> None:
    """Somebody has to trust each of them; a name nobody can explain does not belong here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    readme = (ROOT / "README.md").read_text()
    for requirement in wanted:
        name = re.split(r"[\[<>=;]", requirement, maxsplit=1)[0]
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", readme), name
