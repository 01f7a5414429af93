"""Feature views that the registry knows: resolved for a pipeline, and traced to the models that use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlmodel import Session, col, select

from base.errors import ArgumentError, DefinitionError, nearest
from base.pipeline import Pipeline
from base.references import Rows
from base.view_spec import ViewSpec
from features.views import FeatureView, JoinedView
from registry.store import Registry
from registry.tables import FeatureViewRow, ModelVersion
from registry.view_marks import mark_view

if TYPE_CHECKING:
    from features.declarations import DeclaredView


@dataclass(frozen=True)
class ViewUse:
    """A model version that was trained with a view."""

    model: str
    number: int
    digest: str
    features: tuple[str, ...]


def list_views(session: Session) -> list[FeatureViewRow]:
    """List the views, each as it was declared last, by name."""
    rows = session.exec(select(FeatureViewRow).order_by(col(FeatureViewRow.id)))
    newest = {row.name: row for row in rows}
    return [newest[name] for name in sorted(newest)]


def find_view_row(session: Session, name: str) -> FeatureViewRow:
    """Find a view as it was declared last.

    Raises
    ------
    ArgumentError
        If there is none of that name.
    """
    rows = {row.name: row for row in list_views(session)}
    if name not in rows:
        raise ArgumentError(
            f"there is no feature view {name!r}; materialised are {', '.join(rows) or 'none'}{nearest(name, rows)}"
        )
    return rows[name]


def find_rows(registry: Registry, name: str, digest: str) -> Rows | None:
    """Return the events that are stored now for one declaration; None if it was never materialised."""
    with registry.database.read() as session:
        row = find_declaration(session, name, digest)
    return None if row is None else Rows.model_validate(row.rows)


def resolve_views(registry: Registry, pipeline: Pipeline) -> tuple[JoinedView, ...]:
    """Find the views that a pipeline joins: those beside it, else those that another folder declares.

    Raises
    ------
    DefinitionError
        If there is no such view or feature, a key has no column, the pipeline has no time, or the view was not
        materialised as it is declared now.
    """
    specs = pipeline.spec.prepare.views
    if not specs:
        return ()
    if pipeline.spec.time is None:
        raise _wrong(pipeline, "are joined as of each row's time, but key 'time' is missing; name the column", "")
    # The service reads this module, and never a definition.
    from features.declarations import read_views

    declared = read_views(pipeline.folder)
    return tuple(_resolve(registry, pipeline, spec, declared.get(spec.view), list(declared)) for spec in specs)


def given_columns(registry: Registry, pipeline: Pipeline) -> dict[str, str]:
    """Name the columns that feature views give to a pipeline's rows, each with its view; an unknown view gives none."""
    specs = pipeline.spec.prepare.views
    if not specs:
        return {}
    from features.declarations import read_views

    views = {name: one.view for name, one in read_views(pipeline.folder).items()}
    with registry.database.read() as session:
        others = {row.name: row.document for row in list_views(session) if row.name not in views}
    given: dict[str, str] = {}
    for spec in specs:
        if spec.view in others:
            views[spec.view] = FeatureView.model_validate(others[spec.view])
        known = views[spec.view].stored if spec.view in views else {}
        given |= {f"{spec.prefix}{feature}": spec.view for feature in spec.features or known}
    return given


def list_uses(session: Session, name: str) -> list[ViewUse]:
    """List the model versions that were trained with a view, newest first."""
    versions = session.exec(select(ModelVersion).order_by(col(ModelVersion.model), col(ModelVersion.number).desc()))
    return [
        ViewUse(version.model, version.number, joined.digest, tuple(joined.columns))
        for version in versions
        for joined in views_of(version)
        if joined.view.name == name
    ]


def views_of(version: ModelVersion) -> tuple[JoinedView, ...]:
    """Read which views a model version was trained with."""
    documents = version.manifest.get("plan", {}).get("views", [])
    return tuple(JoinedView.model_validate(document) for document in documents)


def _resolve(
    registry: Registry, pipeline: Pipeline, spec: ViewSpec, declared: DeclaredView | None, beside: Sequence[str]
) -> JoinedView:
    name = spec.view
    with registry.database.read() as session:
        rows = {row.name: row for row in list_views(session)}
        row = rows.get(name) if declared is None else find_declaration(session, name, declared.digest)
    if declared is None and row is None:
        known = sorted({*rows, *beside})
        raise _wrong(pipeline, f"names {name!r}; known are {', '.join(known) or 'none'}{nearest(name, known)}", ".view")
    folder = pipeline.folder if declared is None else declared.folder
    if row is None or not Rows.model_validate(row.rows).segments:
        state = "was changed since it was materialised" if name in rows else "was never materialised"
        raise _wrong(
            pipeline,
            f"names {name!r}, which {state}; run `everfit features materialize {name} --folder {folder}` first",
            ".view",
        )
    view = FeatureView.model_validate(row.document) if declared is None else declared.view
    if unknown := [key for key in spec.on if key not in view.entity.keys]:
        raise _wrong(
            pipeline,
            f"names {unknown[0]!r}, which is no key of {name!r}; its keys are {', '.join(view.entity.keys)}",
            ".on",
        )
    if unknown := [feature for feature in spec.features if feature not in view.features]:
        hint = nearest(unknown[0], view.features)
        raise _wrong(pipeline, f"names {unknown[0]!r}; {name!r} has {', '.join(view.features)}{hint}", ".features")
    if dropped := [feature for feature in spec.features if feature not in view.stored]:
        raise _wrong(pipeline, f"names {dropped[0]!r}, which {name!r} drops as personal", ".features")
    joined = JoinedView(
        view=view,
        digest=row.digest,
        keys={key: spec.on.get(key, key) for key in view.entity.keys},
        columns={feature: f"{spec.prefix}{feature}" for feature in spec.features or view.stored},
        rows=Rows.model_validate(row.rows),
    )
    return mark_view(joined, pipeline)


def _wrong(pipeline: Pipeline, problem: str, key: str) -> DefinitionError:
    key = f"prepare.views{key}"
    return DefinitionError(f"key {key!r} {problem}", file=str(Path(pipeline.file)), key=key)


def find_declaration(session: Session, name: str, digest: str) -> FeatureViewRow | None:
    """Find what is stored for one declaration of a view; None if it was never materialised."""
    return session.exec(
        select(FeatureViewRow).where(FeatureViewRow.name == name, FeatureViewRow.digest == digest)
    ).one_or_none()
