"""Who reads what in ClickHouse, through the published port; and which keys the collector takes."""

from faults.compose.report import Report
from testkit.compose_stack import READERS, ComposeStack

LABELS = {"labels", "label_consensus"}
OPEN = {"signals", "analytics", "dead_letters"} | LABELS
CLOSED = {"personal", "labelers", "migrations"}
MAY_READ = {"analyst": OPEN, "ml": LABELS, "privacy": OPEN | CLOSED}
FORBIDDEN = (
    "INSERT INTO unjoin.dead_letters (reason) VALUES ('x')",
    "DROP TABLE unjoin.labels",
    "SELECT _part FROM unjoin.labels",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM system.users",
)
REFUSED = ("ACCESS_DENIED", "READONLY")


def run(stack: ComposeStack, report: Report) -> None:
    """Each user logs in; nobody else does."""
    for user in READERS:
        with report.check(f"ClickHouse: `{user}` reads what its role says, and writes nothing") as check:
            read = {name for name in OPEN | CLOSED if "DB::Exception" not in _one_row(stack, user, name)}
            assert read == MAY_READ[user], read
            said = {sql: stack.query(user, sql) for sql in FORBIDDEN}
            assert all(any(word in text for word in REFUSED) for text in said.values()), said
            check.said = f"{len(read)} of {len(OPEN | CLOSED)} tables; {len(FORBIDDEN)} statements refused"
    with report.check("ClickHouse: no user without a password, none with a wrong one"):
        for user, password in (("default", " "), ("analyst", "wrong"), ("sink", "wrong")):
            said = stack.query(user, "SELECT 1", password)
            assert "Authentication failed" in said, (user, said)
    with report.check("collector: an unknown key is refused"):
        status, answer = stack.post({"session": "s", "events": []}, "ub_unknown")
        assert status == 401, (status, answer)


def _one_row(stack: ComposeStack, user: str, table: str) -> str:
    return stack.query(user, f"SELECT * FROM unjoin.{table} LIMIT 1")
