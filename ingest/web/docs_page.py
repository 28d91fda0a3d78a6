"""Pure: the OpenAPI document as one HTML page that loads nothing from anywhere."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { border-top: 1px solid var(--line); padding-top: 1.5rem; margin-top: 2.5rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: var(--soft); border-radius: 4px; }
code { padding: .1em .3em; } pre { padding: .8rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } .method { font-weight: 700; text-transform: uppercase; }
td, th { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
"""


def docs_page(document: dict[str, Any], sdk_tag: str) -> str:
    """The whole page.

    Args:
        document: as `ingest.web.openapi` makes it.
        sdk_tag: the script tag that loads the browser SDK.
    """
    info = document["info"]
    body = [
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
        f"<p>{_prose(info['description'])}</p>",
        '<p>The same for machines: <a href="/openapi.json">/openapi.json</a></p>',
        "<h2>Browser SDK</h2>",
        "<p>One tag collects signals and sends them; the file at that address never changes.</p>"
        f"<pre>{escape(sdk_tag)}</pre>",
        "<p>"
        + _prose(
            "Then `unjoin.label(task, answer)`; on sites of your own also `unjoin.page()` and `unjoin.track(event)`."
        )
        + '</p><p>Without a pinned version: <a href="/sdk.js">/sdk.js</a></p>',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            body += _operation(path, method, operation)
    body.append("<h2>Schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        body += _schema(name, schema)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    parts = [
        f'<h2><span class="method">{escape(method)}</span> <code>{escape(path)}</code></h2>',
        f"<p>{_prose(operation['summary'])}. {_prose(operation.get('description', ''))}</p>",
    ]
    example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    if example is not None:
        parts.append(f"<pre>{escape(json.dumps(example, indent=1))}</pre>")
    rows = [(status, _prose(answer["description"])) for status, answer in operation["responses"].items()]
    parts.append(_table(("Status", "Meaning"), rows))
    return parts


def _schema(name: str, schema: dict[str, Any]) -> list[str]:
    parts = [f'<h3 id="{escape(name)}">{escape(name)}</h3>', f"<p>{_prose(schema.get('description', ''))}</p>"]
    if "enum" in schema:
        parts.append(f"<p>{', '.join(f'<code>{escape(str(value))}</code>' for value in schema['enum'])}</p>")
    required = set(schema.get("required", []))
    rows = [
        (f"<code>{escape(field)}</code>", "required" if field in required else "", _shape(inner))
        for field, inner in schema.get("properties", {}).items()
    ]
    if rows:
        parts.append(_table(("Field", "", "Shape"), rows))
    return parts


def _shape(schema: dict[str, Any]) -> str:
    """One line that describes the values that a schema allows."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_shape(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    kinds = schema.get("type", "any")
    words = [escape(" or ".join(kinds) if isinstance(kinds, list) else str(kinds))]
    if "items" in schema:
        words.append("of " + _shape(schema["items"]))
    bounds = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern")
    words += [f"{bound} <code>{escape(str(schema[bound]))}</code>" for bound in bounds if bound in schema]
    return " ".join(words)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _prose(text: str) -> str:
    """Escaped text; what stands in backticks becomes code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(pieces))
