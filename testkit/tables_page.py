"""`python -m testkit.tables_page`: writes docs/tables.md anew, from the data dictionary and a migrated database."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sinks.clickhouse.embedded import Embedded
from sinks.rows.dictionary import DICTIONARY, page

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"
_COLUMNS = "SELECT table, name, type FROM system.columns WHERE database = 'unjoin' ORDER BY table, position"


def columns_of(select: Callable[[str, str], bytes]) -> list[tuple[str, str, str]]:
    """(table, column, type) of every table and view of a migrated database.

    Args:
        select: runs a statement; rows in an output format.
    """
    found = [tuple(line.split("\t")) for line in select(_COLUMNS, "TSVRaw").decode().splitlines()]
    for view, described in DICTIONARY.items():
        if described.parameters:
            parameters = ", ".join(f"{name} = 1" for name in described.parameters)
            lines = select(f"DESCRIBE TABLE (SELECT * FROM unjoin.{view}({parameters}))", "TSVRaw").decode()
            found += [(view, *line.split("	")[:2]) for line in lines.splitlines()]
    return [(table, column, kind) for table, column, kind in found]


def main() -> None:
    """Writes the page."""
    with tempfile.TemporaryDirectory(prefix="unjoin-tables-") as folder, closing(Embedded(Path(folder))) as engine:
        engine.migrate()
        PAGE.write_text(page(columns_of(engine.select)))


if __name__ == "__main__":
    main()
