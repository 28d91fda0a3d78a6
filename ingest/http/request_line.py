"""Pure: the target of a request line as the routes know it. Source: RFC 9112, 3.2; RFC 3986, 6.2.2.2."""

import re
from collections.abc import Callable

_ABSOLUTE = re.compile(rb"\Ahttps?://[A-Za-z0-9.\-_~!$&'()*+,;=:%\[\]]+(?=[/?]|\Z)", re.IGNORECASE)
_UNRESERVED = re.compile(rb"%(2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|[46]F|5F|7E)", re.IGNORECASE)
_HOST = re.compile(rb"[A-Za-z0-9.\-_~!$&'()*+,;=:%\[\]]*")
_decoded: Callable[[re.Match[bytes]], bytes] = lambda found: bytes.fromhex(found[1].decode())  # noqa: E731


def origin_form(method: bytes, target: bytes) -> bytes | None:
    """Path and query; None where the target cannot be one of a request to an origin server.

    Two spellings of one path give the same bytes, so that whatever looks at them decides alike. Reserved characters
    stay encoded: `/v1%2Fevents` is another path than `/v1/events`.

    Args:
        target: as in the request line: `/path?query`, `http://host/path?query`, or `*` of OPTIONS, which stays.
    """
    if target[:1] != b"/":
        if target == b"*":
            return target if method == b"OPTIONS" else None
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            return None
        target = target[absolute.end() :]
        if target[:1] != b"/":
            target = b"/" + target
    if b"#" in target:
        return None
    if b"%" in target:
        path, mark, query = target.partition(b"?")
        target = _UNRESERVED.sub(_decoded, path) + mark + query
    return target


def own_path(target: bytes, alias: bytes) -> bytes:
    """The target as the routes know it, where it is below a second path that the operator chose; else as it is.

    `/m/e` is where events are posted, `/m/e.js` the newest SDK, `/m/e/HASH.js` one build of it.

    Args:
        target: as `origin_form` gives it.
        alias: a path as `/m/e`; empty for none.
    """
    if not alias or not target.startswith(alias):
        return target
    rest = target[len(alias) :]
    if rest[:1] in (b"", b"?"):
        return b"/v1/events" + rest
    return b"/sdk" + rest if rest[:1] == b"/" or rest.partition(b"?")[0] == b".js" else target


def are_hosts(fields: list[bytes]) -> bool:
    """Whether Host came once and can name a host; it is empty where the target has none. Source: RFC 9110, 7.2."""
    return len(fields) == 1 and _HOST.fullmatch(fields[0]) is not None
