"""`everfit data profile`: a page about the data of a source, or of a pipeline's snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, nearest
from console.installation import is_registry_new, open_registry, read_settings
from console.snapshot_names import LATEST, SHOWN_DIGITS, name_pipeline, personal_columns, resolve_snapshot

if TYPE_CHECKING:
    import duckdb

    from base.contract import ColumnType
    from base.pipeline import Target
    from console.output import Output
    from features.data_profile import DataProfile

_TIMED = "timed"
_FORMATS = (".csv", ".csv.gz", ".csv.zip", ".parquet", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class _Subject:
    """What is profiled: its rows as a view, and what its pipeline says of them."""

    connection: duckdb.DuckDBPyConnection
    name: str
    lead: str
    types: dict[str, ColumnType]
    n_bytes: int
    target: str | Target | None = None
    time: str | None = None
    task: Any = None
    personal: frozenset[str] = frozenset()


def profile_command(
    data: str,
    *,
    target: str | None,
    time: str | None,
    personal: list[str],
    with_evidently: bool,
    output_file: str | None,
    output: Output,
) -> None:
    """Profile data and write the page; nothing that is personal is on it.

    Raises
    ------
    ArgumentError
        If *data* is neither a source nor a pipeline, or a column is not there.
    DataRefused
        If the source cannot be read.
    """
    from base.atomic_files import write_atomically
    from console.profile_page import render_profile
    from features.data_profile import profile_data

    with output.progress("profile") as advance, _open(data) as subject:
        file = Path(output_file or f"{subject.name}-profile.html").absolute()
        if not file.parent.is_dir():
            raise ArgumentError(f"--output names folder {str(file.parent)!r}, which is not there; make it first")
        for name in personal:
            _check_column("--personal", name, subject.types)
        hidden = subject.personal | set(personal)
        advance("data opened")
        view, moment = _parse_time(subject, time)
        goal = _read_target(subject, target)
        profile, sample = profile_data(
            subject.connection, view, subject.types, target=goal, time=moment, task=subject.task if goal else None
        )
        advance("measured")
        summary = None
        if with_evidently:
            from monitoring.summary import summarise_with_evidently

            summary = summarise_with_evidently(sample.drop_columns([n for n in sample.column_names if n in hidden]))
            advance("Evidently's summary made")
        title = f"Profile of {subject.name}"
        content = render_profile(
            title, subject.lead, profile, n_bytes=subject.n_bytes, personal=hidden, summary=summary
        )
        write_atomically(file, content.encode())
    document = _as_json(profile, hidden) | {"page": str(file)}
    _say(subject.name, profile, hidden, str(file), output)
    output.result(document)


@contextmanager
def _open(data: str) -> Iterator[_Subject]:
    name, _, digest = data.partition("@")
    path = Path(data)
    is_source = "://" in data or path.exists() or any(sign in data for sign in "*?[") or data.endswith(_FORMATS)
    if is_source and path.suffix not in (".yaml", ".yml") and not (path / "pipeline.yaml").is_file():
        with _open_source(data) as subject:
            yield subject
    else:
        with _open_snapshot(name, digest or LATEST) as subject:
            yield subject


@contextmanager
def _open_source(source: str) -> Iterator[_Subject]:
    from base.changes.profiled_rows import VIEW, open_source
    from base.changes.profiles import view_types
    from base.extract_spec import SourceSpec
    from base.sources.files import find_files
    from base.sources.reading import Site
    from base.user_code import UserCode

    settings = read_settings()
    paths = [] if "://" in source else [Path(file.address) for file in find_files(source, Path.cwd(), settings)]
    site = Site(Path.cwd(), settings, UserCode({}))
    with open_source(SourceSpec(source=source), site) as connection:
        name = Path(source.rstrip("/*")).name.partition(".")[0] or "data"
        n_bytes = sum(path.stat().st_size for path in paths)
        yield _Subject(connection, name, source, view_types(connection, VIEW), n_bytes)


@contextmanager
def _open_snapshot(pipeline: str, digest: str) -> Iterator[_Subject]:
    from base.changes.profiled_rows import open_rows
    from console.snapshot_names import newest_package
    from registry.snapshots import read_snapshot

    settings = read_settings()
    if is_registry_new(settings):
        raise ArgumentError(f"there is no file {pipeline!r}, and no pipeline is registered here")
    registry = open_registry(settings)
    name = name_pipeline(registry, pipeline)
    with registry.database.read() as session:
        row = resolve_snapshot(session, name, digest)
    snapshot = read_snapshot(row)
    spec = newest_package(registry, name).get("spec") or {}
    target = spec.get("target")
    goal = target if isinstance(target, str) or target is None else target["name"]
    with open_rows(registry.artifacts, snapshot.rows) as connection:
        yield _Subject(
            connection,
            name=name,
            lead=f"Snapshot {row.digest[:SHOWN_DIGITS]} of {row.created_at:%Y-%m-%d %H:%M} UTC",
            types=dict(snapshot.columns),
            n_bytes=sum(segment.artifact.size_bytes for segment in snapshot.rows.segments),
            target=goal if goal in snapshot.columns else None,
            time=snapshot.time,
            task=spec.get("task"),
            personal=personal_columns(registry, name),
        )


def _parse_time(subject: _Subject, time: str | None) -> tuple[str, str | None]:
    """Choose the time column, and make moments of it where it holds none; return the view to look at."""
    from base.changes.profiled_rows import VIEW
    from base.rows.duck import quote_name
    from base.rows.time_columns import parse_time

    chosen = time or subject.time
    if chosen is None:
        return VIEW, None
    _check_column("--time", chosen, subject.types)
    if subject.types[chosen] == "time":
        return VIEW, chosen
    name, rows = quote_name(chosen), quote_name(VIEW)
    column = subject.connection.sql(f"SELECT {name} FROM {rows}").to_arrow_table()
    subject.connection.register("moments", parse_time(column, chosen))
    subject.connection.execute(
        f"CREATE TEMP VIEW {_TIMED} AS SELECT r.* REPLACE (m.{name} AS {name}) FROM {rows} r POSITIONAL JOIN moments m"
    )
    subject.types[chosen] = "time"
    return _TIMED, chosen


def _read_target(subject: _Subject, target: str | None) -> str | Target | None:
    if target is None:
        return subject.target
    from console.drafting import parse_target

    return parse_target(target, list(subject.types))


def _check_column(option: str, name: str, types: dict[str, ColumnType]) -> None:
    if name not in types:
        raise ArgumentError(f"{option} {name!r} is no column{nearest(name, types)}; there are {', '.join(types)}")


def _as_json(profile: DataProfile, personal: frozenset[str]) -> dict[str, Any]:
    from console.plots import as_json_value
    from features.time_slices import largest

    slices = profile.slices
    return {
        "rows": profile.n_rows,
        "repeated_rows": profile.n_double,
        "target": profile.target,
        "task": profile.task,
        "columns": [
            {
                "column": column.name,
                "type": column.profile.type,
                "missing": column.profile.n_null,
                "distinct": column.profile.n_distinct,
                "minimum": None if column.name in personal else as_json_value(column.profile.minimum),
                "maximum": None if column.name in personal else as_json_value(column.profile.maximum),
                "mean": None if column.name in personal else column.mean,
                "farthest_drift": largest(slices.drift.get(column.name, ())) if slices else None,
                "is_personal": column.name in personal,
            }
            for column in profile.columns
        ],
        "associations": [vars(tie) for tie in profile.associations],
        "suspects": [vars(suspect) for suspect in profile.suspects],
    }


def _say(name: str, profile: DataProfile, personal: frozenset[str], file: str, output: Output) -> None:
    from console.profile_findings import find_remarkable
    from console.profile_page import DRIFTED_FAR

    output.say(f"{name}: {profile.n_rows:,} rows, {len(profile.columns)} columns")
    for finding in find_remarkable(profile, personal, drift_limit=DRIFTED_FAR):
        output.say(f"- {finding.column + ' ' if finding.column else ''}{finding.text}")
    if profile.associations:
        strongest = ", ".join(f"{tie.column} {tie.value:.2f}" for tie in profile.associations[:5])
        output.say(f"goes most with {profile.target}: {strongest}")
    output.say(f"page: {file}")
