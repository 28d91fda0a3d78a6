"""Runs SQL as one of ClickHouse's users: `as_user.py CONFIG DATA_DIR` with a JSON list of statements on standard input.

An embedded engine knows no log-in: it is always `default`, whom CONFIG gives the rights of the user in question.
Prints a JSON list: each statement's rows, or the name of the engine's error.
"""

import json
import re
import sys

from chdb.session import Session


def main() -> None:
    config, data_dir = sys.argv[1:]
    session = Session(f"file:{data_dir}?config-file={config}")
    answers = []
    for sql in json.load(sys.stdin):
        try:
            answers.append({"rows": str(session.query(sql, "JSONCompactEachRow")).splitlines()})
        except RuntimeError as error:
            code = re.findall(r"\(([A-Z_]+)\)", str(error))
            answers.append({"error": code[-1] if code else str(error)})
    session.close()
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
