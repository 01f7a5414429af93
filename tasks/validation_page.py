"""The page of a validation: each rule with what it found, and what was set aside, as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from base.contract import ColumnType, ExpectationRule, Severity
from base.errors import Fault
from base.expectations.asking import ExpectationResult
from base.pages import cards, page, section, table
from base.pipeline import Pipeline
from base.references import Rows, Snapshot
from base.validation.checks import MASK
from tasks.judged_rows import JudgedRows
from tasks.row_quarantine import name_expectation

_STYLE = """
body { max-width: 1120px }
.bar { display: inline-block; width: 80px; height: .62em; background: var(--card); border: 1px solid var(--rule) }
.bar i { display: block; height: 100%; background: var(--good) }
.bar.warn i { background: var(--warn) } .bar.bad i { background: var(--bad) }
.limit { position: relative; height: 1.1em; max-width: 620px; background: var(--card); border: 1px solid var(--rule) }
.limit i { display: block; height: 100%; background: var(--warn) }
.limit s { position: absolute; top: -.25em; bottom: -.25em; width: 2px; background: var(--bad) }
td code { font-size: .88em } tr.kept td { color: var(--soft) }
"""
_KINDS: dict[Severity, str] = {"refuse": "bad", "quarantine": "warn", "warn": "warn"}
_WORDS: dict[Severity, str] = {"refuse": "refuse", "quarantine": "set aside", "warn": "warn only"}
# Segments are days or months; older ones are told by their sum.
_MOST_SEGMENTS = 60
# A bar is drawn for this many times the limit; more of it would only make the small shares invisible.
_SCALE = 2.0
_LONGEST_RULE, _LONGEST_EXAMPLE = 90, 32


@dataclass(frozen=True)
class RuleLine:
    """One rule, with how many rows break it; None where that is not a matter of single rows."""

    column: str
    expected: str
    severity: Severity
    n_broken: int | None
    examples: tuple[str, ...]
    holds: bool
    note: str = ""


def list_rules(judged: JudgedRows, named: Sequence[tuple[ExpectationRule, ExpectationResult]]) -> list[RuleLine]:
    """List all that was checked: by column, over rows, over all rows, and the contract's own expectations."""
    lines = [
        RuleLine(
            ", ".join(check.columns),
            check.expected,
            check.severity,
            judged.broken[check.reason],
            judged.examples.get(check.reason, ()),
            holds=not judged.broken[check.reason],
        )
        for check in judged.checks
    ]
    for found in judged.duplicates:
        columns = "all columns" if found.key.is_whole_row else found.key.shown
        expected = "no row repeats another" if found.key.is_whole_row else "unique"
        lines.append(
            RuleLine(columns, expected, found.key.severity, found.n_rows, found.examples, holds=not found.n_rows)
        )
    for rule, result in named:
        arguments = ", ".join(f"{key}={value!r}" for key, value in result.arguments.items())
        note = "" if result.observed is None else f"found {result.observed}"
        lines.append(
            RuleLine(
                name_expectation(result).removesuffix(" does not hold"),
                arguments,
                rule.severity,
                result.n_unexpected if result.n_unexpected or result.success else None,
                tuple(str(value) for value in result.examples),
                holds=result.success,
                note=note,
            )
        )
    return lines


def render_validation(
    pipeline: Pipeline,
    snapshot: Snapshot,
    judged: JudgedRows,
    rules: Sequence[RuleLine],
    reasons: Mapping[str, int],
    good: Rows,
    *,
    faults: Sequence[Fault] = (),
) -> str:
    """Write the page.

    Parameters
    ----------
    reasons : mapping of reason to number of rows
        Of the quarantined rows, each once.
    faults : sequence of Fault, optional
        Why the data are refused, if they are.
    """
    unlabelled = reasons.get(f"{pipeline.spec.target_column} is null", 0)
    n_bad = sum(reasons.values()) - unlabelled
    n_warned = sum(1 for rule in rules if rule.severity == "warn" and not rule.holds)
    limit = pipeline.spec.validate_data.max_quarantined_share
    share = n_bad / max(1, judged.n_rows - unlabelled)
    figures = [
        ("rows judged", f"{judged.n_rows:,}", f"in {len(judged.judgements):,} segments", ""),
        ("good rows", f"{good.n_rows:,}", f"{good.n_rows / max(1, judged.n_rows):.2%} of all", "good"),
        ("set aside", f"{n_bad:,}", f"{share:.3%}, of at most {limit:.1%}", "warn" if n_bad else "good"),
        ("without a target yet", f"{unlabelled:,}", "no fault, and not counted", ""),
        ("warnings", f"{n_warned:,}", "rules broken by rows that stay", "warn" if n_warned else "good"),
    ]
    parts = [
        f"<h1>Validation of {escape(pipeline.name)}</h1>",
        f"<p class='lead soft'>Snapshot {escape(snapshot.digest[:12])}{_period(snapshot)}</p>",
        _refusal(faults),
        cards(figures),
        section("Set aside, against the limit", _limit(share, limit)),
        section("Why rows were set aside", _reasons(reasons)),
        section("Rules", _rules(rules, judged.n_rows)),
        _unmatched(snapshot),
        section("Columns", _columns(pipeline, snapshot.columns)),
        section("Segments", _segments(judged, good)),
    ]
    return page(f"Validation of {pipeline.name}", "".join(parts), style=_STYLE)


def render_refused_columns(
    pipeline: Pipeline, snapshot: Snapshot, faults: Sequence[Fault], renames: Sequence[str]
) -> str:
    """Write the page of data whose rows were not judged, since their columns are not what the contract says."""
    likely = "".join(f"<li>{escape(rename)}</li>" for rename in renames)
    parts = [
        f"<h1>Validation of {escape(pipeline.name)}</h1>",
        f"<p class='lead soft'>Snapshot {snapshot.digest[:12]}{_period(snapshot)}, {snapshot.n_rows:,} rows</p>",
        _refusal(faults),
        section("Likely renames", f"<ul>{likely}</ul>") if renames else "",
        _unmatched(snapshot),
        section("Columns", _columns(pipeline, snapshot.columns)),
    ]
    return page(f"Validation of {pipeline.name}", "".join(parts), style=_STYLE)


def _refusal(faults: Sequence[Fault]) -> str:
    if not faults:
        return ""
    rows = [
        [
            escape(fault.column or "the table"),
            escape(fault.found),
            escape(fault.expected),
            "–" if fault.n_rows is None else f"{fault.n_rows:,}",
        ]
        for fault in faults
    ]
    head = "<p class=bad>These data are refused: the run stopped, no model was made of them, the champion stays.</p>"
    return section("Refused", head + table(["column", "found", "expected", "rows"], rows, n_texts=3))


def _unmatched(snapshot: Snapshot) -> str:
    if not snapshot.unmatched:
        return ""
    rows = [[escape(name), f"{count:,}"] for name, count in snapshot.unmatched.items()]
    note = "<p class=soft>Of the rows that were read last; the columns of that source are null in them.</p>"
    return section("Rows without a partner", table(["joined source", "rows"], rows, n_texts=1) + note)


def _period(snapshot: Snapshot) -> str:
    if snapshot.first is None or snapshot.watermark is None:
        return ""
    return f", {snapshot.first:%Y-%m-%d} to {snapshot.watermark:%Y-%m-%d}"


def _limit(share: float, limit: float) -> str:
    whole = max(limit * _SCALE, share, 1e-9)
    return (
        f"<div class=limit role=img aria-label='{share:.3%} of at most {limit:.1%}'>"
        f"<i style='width:{share / whole:.2%}'></i><s style='left:{limit / whole:.2%}'></s></div>"
        f"<p class=soft>{share:.3%} of the rows with a target were set aside; above {limit:.1%} "
        "(<code>validate_data.max_quarantined_share</code>) the run would have stopped.</p>"
    )


def _reasons(reasons: Mapping[str, int]) -> str:
    if not reasons:
        return "<p class=good>No row was set aside.</p>"
    largest = max(reasons.values())
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    rows = [[escape(reason), _bar(count / largest, "warn"), f"{count:,}"] for reason, count in ordered]
    note = "<p class=soft>Each row is counted once, under the first rule that it breaks; the quarantine lists all.</p>"
    return table(["reason", "", "rows"], rows, n_texts=2) + note


def _rules(rules: Sequence[RuleLine], n_rows: int) -> str:
    if not rules:
        return "<p class=soft>The pipeline has no contract; <code>everfit contract infer</code> writes one.</p>"
    rows = []
    for rule in sorted(rules, key=lambda rule: (rule.holds, -(rule.n_broken or 0))):
        share = (rule.n_broken or 0) / max(1, n_rows)
        kind = "good" if rule.holds else _KINDS[rule.severity]
        verdict = "holds" if rule.holds else "broken"
        # By the square root, one row in a thousand is still seen.
        bar = "" if rule.holds else _bar(max(0.02, share**0.5), kind)
        rows.append(
            [
                escape(rule.column),
                escape(_cut(rule.expected, _LONGEST_RULE)),
                escape(_WORDS[rule.severity]),
                f"<span class={kind}>{verdict}</span>",
                bar,
                _examples(rule),
                f"{n_rows:,}",
                "–" if rule.n_broken is None else f"{rule.n_broken:,}",
                "–" if rule.n_broken is None else f"{share:.3%}",
            ]
        )
    head = ["column", "expected", "if broken", "verdict", "", "examples", "rows checked", "broken", "share"]
    return table(head, rows, n_texts=6)


def _examples(rule: RuleLine) -> str:
    if MASK in rule.examples:
        return "<span class=soft>personal, not shown</span>"
    shown = [f"<code>{escape(_cut(example, _LONGEST_EXAMPLE))}</code>" for example in rule.examples[:3]]
    return ", ".join([*shown, *([escape(rule.note)] if rule.note else [])])


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def _bar(share: float, kind: str) -> str:
    return f"<span class='bar {kind}'><i style='width:{min(1.0, share):.2%}'></i></span>"


def _columns(pipeline: Pipeline, columns: Mapping[str, ColumnType]) -> str:
    known = pipeline.contract.columns if pipeline.contract else {}
    rows = []
    for name in dict.fromkeys([*known, *columns]):
        rule, found = known.get(name), columns.get(name)
        if found is None and rule is not None and rule.personal != "drop":
            state = "<span class=bad>missing</span>"
        elif found is None:
            state = "<span class=soft>dropped at extraction</span>"
        elif rule is None:
            state = "<span class=warn>new: the contract does not know it</span>" if known else ""
        elif rule.personal is not None:
            state = "<span class=soft>personal, hashed</span>"
        else:
            state = "<span class=good>as agreed</span>"
        marks = " <span class=soft>sensitive</span>" if rule is not None and rule.sensitive else ""
        rows.append([escape(name) + marks, found or "–", rule.type if rule else "–", state])
    return table(["column", "found", "contract", ""], rows, n_texts=4)


def _segments(judged: JudgedRows, good: Rows) -> str:
    lines = list(zip(judged.rows.segments, judged.judgements, good.segments, strict=True))
    rows = []
    for segment, judgement, kept in lines[-_MOST_SEGMENTS:]:
        n_kept = kept.n_stored - kept.n_dropped
        n_bad = judgement.n_rows - n_kept
        first, last = segment.first, segment.last
        period = "" if first is None or last is None else f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
        share = n_bad / max(1, judgement.n_rows)
        rows.append(
            [
                f"<code>{escape(segment.artifact.digest[:12])}</code>",
                period,
                _bar(share**0.5, "warn"),
                f"{judgement.n_rows:,}",
                f"{n_bad:,}",
                f"{share:.2%}",
            ]
        )
    older = len(lines) - len(rows)
    note = f"<p class=soft>{older:,} older segments are not listed.</p>" if older else ""
    return table(["segment", "from, to", "", "rows", "set aside", "share"], rows, n_texts=3) + note
