"""`unjoin audit`: accepted = stored + collapsed + dead-lettered + suppressed + expired + erased + held, or where not.

    snapshot.py   positions first: what every consumer committed, then the ends of every log
    spools.py     what lies at the edge
    dead_letters.py  which offsets were set aside
    stored.py     keys of the rows that ClickHouse holds         ┐ scratch files,
    logs.py       records of a topic, up to the position          ┘ one bucket at a time
    erased.py     which of the records without a row are of somebody who asked to be gone
    keys.py       pure: what a record's row is called, in Python and in SQL
    matching.py   pure: the keys of a log against the keys of a table
    balance.py    pure: the sums
    report.py     the table, or JSON
    command.py    all of it in order

Stored and collapsed are measured apart: rows are counted in ClickHouse, repeated keys in the log. Of labels before the
door only offsets and the door's own durable totals are read: who audits needs no identified label and no key.
"""
