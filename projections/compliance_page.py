"""A compliance report as Markdown and as one HTML page without scripts or outside resources."""

import html
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from autopilot.projections.compliance import SECTIONS, Entry, PolicyVersion, Report

_CITED = 4
"""Positions that are written out of a broadcast or a policy version; the JSON has all."""
_POLICIES = ("bundle", "digest", "authorised", "denied", "held", "rules that fired", "positions")
_ENTRIES = ("time (UTC)", "what", "about", "by", "detail", "position")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}"
    "th,td{border-bottom:1px solid #d0d7de;padding:.3rem .6rem;text-align:left;vertical-align:top}"
    "th{background:#f6f8fa}td:last-child{font-family:ui-monospace,monospace;font-size:12px}"
)
Rows = Sequence[Sequence[str]]


def as_markdown(report: Report) -> str:
    """The report in Markdown."""
    lines = ["# Compliance report", "", *(f"- {line}" for line in _summary(report)), ""]
    for title, columns, rows in _tables(report):
        lines += [f"## {title}", ""]
        lines += _markdown_table(columns, rows) if rows else ["None."]
        lines.append("")
    return "\n".join(lines)


def as_html(report: Report) -> str:
    """The report as a page."""
    summary = "".join(f"<li>{html.escape(line)}</li>" for line in _summary(report))
    body = "".join(
        f"<h2>{html.escape(title)}</h2>{_html_table(columns, rows) if rows else '<p>None.</p>'}"
        for title, columns, rows in _tables(report)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Compliance report</title>'
        f"<style>{_STYLE}</style></head><body><h1>Compliance report</h1><ul>{summary}</ul>{body}</body></html>\n"
    )


def _summary(report: Report) -> Iterator[str]:
    first = _time(report.from_ms) if report.from_ms is not None else "the beginning"
    last = _time(report.to_ms) if report.to_ms is not None else "now"
    yield f"Period: from {first} to {last}, UTC; run `{report.run}`"
    if report.events:
        yield f"{report.events} events, the first at {_time(report.first_ms)}, the last at {_time(report.last_ms)}"
    yield f"Incidents: {report.incidents_opened} opened, {report.incidents_closed} closed"
    yield "A position is topic[partition]@offset; `autopilot audit verify` proves that what stands there is unchanged"


def _tables(report: Report) -> Iterator[tuple[str, Sequence[str], Rows]]:
    yield "Decisions by policy version", _POLICIES, [_policy(version) for version in report.policies]
    for section, title in SECTIONS.items():
        yield title, _ENTRIES, [_entry(entry) for entry in report.sections[section]]


def _policy(version: PolicyVersion) -> list[str]:
    rules = ", ".join(f"{rule} {count}" for rule, count in sorted(version.rules.items()))
    counts = [str(version.authorised), str(version.denied), str(version.held)]
    return [version.bundle or "none in force", version.digest[:19], *counts, rules, _cited(version.positions)]


def _entry(entry: Entry) -> list[str]:
    return [_time(entry.at_ms), entry.what, entry.subject, entry.by, entry.detail, _cited(entry.positions)]


def _cited(positions: Sequence[str]) -> str:
    more = f" and {len(positions) - _CITED} more" if len(positions) > _CITED else ""
    return ", ".join(positions[:_CITED]) + more


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _markdown_table(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(_cell(cell) for cell in row) + " |"


def _cell(text: str) -> str:
    """Text that neither ends its cell nor becomes markup."""
    return html.escape(text, quote=False).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _html_table(columns: Sequence[str], rows: Rows) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
