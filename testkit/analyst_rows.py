"""Rows that the engine makes itself, distributed as traffic is; the same number always makes the same row.

Sessions of about 100 signals, 1,000 of them at a time; a session has one site, and sites differ in size. Pointers walk
by up to 12 pixels a sample at 60 Hz, with a timer's jitter; keys come every 180 ms. Ids are UUIDs of version 7, as the
SDK makes them. A fifth as many page views of the same sessions, with few browsers, a thousand pages and an address a
session; labels are nine in ten right. Accounts come by and by, and some come back. All within 60 days.
"""

DAYS = 60
SESSION_EVENTS = 100
AT_ONCE = 1_000

# The engine's own words; `number` counts rows.
_WITH = f"""
    1790000000000 + intDiv(number * {DAYS * 86_400_000}, {{rows}}) AS at,
    intDiv(number, {{each}} * {AT_ONCE}) * {AT_ONCE} + number % {AT_ONCE} AS session_number,
    sipHash64(session_number) AS of_session,
    sipHash64(number) AS chance,
    concat('site-', toString(toUInt8(pow(of_session % 1000 / 1000, 3) * 20))) AS site_name,
    concat('s-', lower(hex(of_session))) AS session_name,
    lower(concat(
        substring(hex(toUInt64(at)), 5, 8), '-', substring(hex(toUInt64(at)), 13, 4),
        '-7', substring(hex(chance), 1, 3), '-9', substring(hex(chance), 4, 3),
        '-', substring(hex(sipHash64(number, 1)), 1, 12)
    )) AS id"""

_SIGNALS = """
INSERT INTO {database}.signals (event_id, site, session, type, ts, received_at, t, x, y, t_up)
WITH {common},
    30 + chance % 31 AS samples,
    multiIf(chance % 100 < 60, 'pointer', chance % 100 < 85, 'scroll', 'key') AS kind,
    arrayMap(i -> sipHash64(number, i), range(samples)) AS chances,
    arrayMap((i, c) -> round(i * if(kind = 'key', 180, 16.7) + c % 100 / if(kind = 'key', 1.6, 100), 1),
        range(samples), chances) AS times
SELECT id, site_name, session_name, kind, at - chance % 1500, fromUnixTimestamp64Milli(toInt64(at), 'UTC'),
    times,
    multiIf(kind = 'pointer', arrayMap(v -> toFloat64(v + chance % 1600), arrayCumSum(c -> c % 25 - 12, chances)),
        kind = 'scroll', arrayMap(c -> 0., chances), []),
    if(kind = 'key', [],
        arrayMap(v -> toFloat64(v + chance % 900), arrayCumSum(c -> bitShiftRight(c, 8) % 25 - 12, chances))),
    if(kind = 'key', arrayMap((at, c) -> round(at + 40 + bitShiftRight(c, 16) % 500 / 10, 1), times, chances), [])
FROM numbers({start}, {count})
"""

_ANALYTICS = """
INSERT INTO {database}.analytics (event_id, site, session, type, ts, received_at, ip, user_agent, browser, os, device,
    isp, url, referrer, properties)
WITH {common},
    toString(100 + of_session % 40) AS version,
    ['Chrome', 'Safari', 'Firefox', 'Edge'][1 + toUInt8(pow(of_session % 997 / 997, 2) * 4)] AS browser_name,
    ['Windows', 'iOS', 'Android', 'Mac OS X', 'Linux'][1 + of_session % 5] AS os_name
SELECT id, site_name, session_name, if(chance % 5 = 0, 'usage', 'page_view'), at - chance % 1500,
    fromUnixTimestamp64Milli(toInt64(at), 'UTC'),
    IPv4NumToString(toUInt32(of_session)),
    concat('Mozilla/5.0 (', os_name, ') AppleWebKit/537.36 (KHTML, like Gecko) ', browser_name, '/', version, '.0.',
        toString(of_session % 7), '.0 Safari/537.36'),
    browser_name, os_name, if(os_name = 'iOS', 'iPhone', 'Other'), concat('Network ', toString(of_session % 300)),
    concat('https://www.example.com/pricing/', toString(toUInt32(pow(chance % 1000 / 1000, 3) * 1000)), '?ref=nav'),
    if(chance % 3 = 0, '', 'https://www.example.com/'),
    concat('{{"plan":"', ['free', 'team', 'scale'][1 + of_session % 3], '","step":', toString(chance % 9), '}}')
FROM numbers({start}, {count})
"""

_LABELS = """
INSERT INTO {database}.labels (row_id, day, task, kind, answer, version)
WITH {common}
SELECT reinterpretAsUUID(sipHash128(number)), toDate(fromUnixTimestamp64Milli(toInt64(at), 'UTC')),
    concat('dogs-', leftPad(toString(intDiv(chance, 16) % greatest(1, intDiv({rows}, 7))), 8, '0')),
    'image_label', if(chance % 10 < 9, ['beagle', 'pug', 'poodle'][1 + intDiv(chance, 16) % 3], 'no dog'),
    sipHash64(number, 7)
FROM numbers({start}, {count})
"""

_PERSONAL = """
INSERT INTO {database}.personal (event_id, site, account, type, ts, received_at, role, name, email, country, provider,
    method, outcome)
WITH {common},
    intDiv(chance, 16) % (1 + intDiv(number, 10)) AS account_number,
    number % 3 = 0 AS is_contact
SELECT id, 'service', concat('account-', toString(account_number)), if(is_contact, 'contact', 'identity_check'),
    at - chance % 1500, fromUnixTimestamp64Milli(toInt64(at), 'UTC'),
    if(is_contact, if(account_number % 4 = 0, 'customer', 'integrator'), ''),
    if(is_contact, concat('Name ', toString(account_number)), ''),
    if(is_contact, concat('a', toString(account_number), '@example.com'), ''),
    if(is_contact, ['DE', 'FR', 'US'][1 + account_number % 3], ''),
    if(is_contact, '', 'idnow'), if(is_contact, '', 'passport'),
    if(is_contact, '', if(chance % 9 = 0, 'failed', 'passed'))
FROM numbers({start}, {count})
"""

_DEAD_LETTERS = """
INSERT INTO {database}.dead_letters (reason, topic, partition, offset, failed_at)
WITH {common}
SELECT ['malformed_datum', 'unknown_schema', 'refused'][1 + chance % 3],
    ['events.signals', 'events.analytics'][1 + number % 2], chance % 2, number,
    fromUnixTimestamp64Milli(toInt64(at), 'UTC')
FROM numbers({start}, {count})
"""

# How many rows a table has of a hundred of `signals`.
SHARES = {"signals": 100, "analytics": 20, "labels": 20, "personal": 1, "dead_letters": 1}
_INSERTS = {
    "signals": _SIGNALS,
    "analytics": _ANALYTICS,
    "labels": _LABELS,
    "personal": _PERSONAL,
    "dead_letters": _DEAD_LETTERS,
}


def insert(table: str, database: str, rows: int, start: int, count: int) -> str:
    """Rows from `start` on, of `rows` that the table will have."""
    common = _WITH.format(rows=rows, each=SESSION_EVENTS * SHARES[table] // 100 or 1)
    return _INSERTS[table].format(database=database, common=common, rows=rows, start=start, count=count)
