"""`everfit features`: which feature views there are, how fresh they are, who uses them; and materialising them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from base.times import describe_duration, parse_moment, utc_now
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output
    from features.declarations import DeclaredView
    from features.online_store import OnlineStore
    from features.views import FeatureView
    from registry.feature_views import ViewUse
    from registry.store import Registry
    from registry.tables import FeatureViewRow


def features_list_command(*, folder: str | None, output: Output) -> None:
    """List the views that are declared here or known to the registry, with how fresh they are."""
    settings = read_settings()
    declared = _declared_here(folder)
    if is_registry_new(settings):
        documents = [_describe(one.view, None, 0, []) | {"state": "never materialised"} for one in declared.values()]
    else:
        registry, online = open_registry(settings), _open_online()
        documents = _list(registry, online, declared)
    if not documents:
        output.say("No feature view: none is declared here, and none was ever materialised; see docs/feature-store.md")
    else:
        output.table(
            ["view", "entity", "features", "rows offline", "keys online", "newest (UTC)", "state", "models", "owner"],
            [
                [
                    one["name"],
                    f"{one['entity']} ({', '.join(one['keys'])})",
                    len(one["features"]),
                    f"{one['n_rows']:,}",
                    f"{one['n_keys']:,}",
                    "" if one["newest"] is None else f"{one['newest']:%Y-%m-%d %H:%M}",
                    one["state"],
                    len({use["model"] for use in one["models"]}),
                    one["owner"],
                ]
                for one in documents
            ],
        )
    output.result(documents)


def features_show_command(name: str, *, folder: str | None, output: Output) -> None:
    """Show one view: its features with unit and meaning, how fresh it is, and the models that use it.

    Raises
    ------
    ArgumentError
        If there is none of that name.
    """
    settings = read_settings()
    declared = _declared_here(folder)
    documents = []
    if not is_registry_new(settings):
        documents = _list(open_registry(settings), _open_online(), declared)
    elif declared:
        documents = [_describe(one.view, None, 0, []) | {"state": "never materialised"} for one in declared.values()]
    found = {one["name"]: one for one in documents}
    if name not in found:
        raise _no_view(name, list(found))
    view = found[name]
    output.say(f"{name}: {view['description'] or 'no description'}")
    output.say(f"  owner      {view['owner'] or 'nobody'}")
    output.say(f"  entity     {view['entity']} by {', '.join(view['keys'])}")
    output.say(f"  source     {view['source']}, time {view['time']}")
    output.say(f"  freshness  {view['freshness'] or 'any age'}")
    output.say(f"  state      {view['state']}")
    output.say(f"  offline    {view['n_rows']:,} events in {view['n_segments']} segments")
    output.say(f"  online     {view['n_keys']:,} keys")
    output.say()
    output.table(
        ["feature", "type", "unit", "description", "governance"],
        [
            [feature, one["type"], one["unit"], one["description"], _name_marks(one)]
            for feature, one in view["features"].items()
        ],
    )
    output.say()
    if view["models"]:
        output.table(
            ["used by", "alias", "features", "declaration"],
            [
                [
                    f"{use['model']}@{use['version']}",
                    "champion" if use["is_champion"] else "",
                    ", ".join(use["features"]),
                    "as now" if use["is_current"] else "an earlier one",
                ]
                for use in view["models"]
            ],
        )
    else:
        output.say("No model version uses it.")
    output.result(view)


def features_materialize_command(name: str | None, *, until: str | None, folder: str | None, output: Output) -> None:
    """Bring one view, or all, up to date: new events offline, the newest of each key online.

    Raises
    ------
    ArgumentError
        If there is no such view, or *until* is no moment.
    DataRefused, DefinitionError, UserCodeError
        If a source cannot be read as its view declares.
    """
    from registry.materialization import materialize_view
    from registry.store import open_registry as open_or_make

    moment = _parse_until(until)
    settings = read_settings()
    declared = _declared_here(folder)
    if folder is None and not is_registry_new(settings):
        declared = _declared_elsewhere(open_registry(settings)) | declared
    if name is not None and name not in declared:
        raise _no_view(name, list(declared))
    chosen = list(declared.values()) if name is None else [declared[name]]
    if not chosen:
        raise ArgumentError(
            "no feature view is declared here; write feature_views.yaml beside the pipeline, or name its folder with "
            "--folder"
        )
    registry, online = open_or_make(settings), _open_online()
    results = []
    with output.progress("materialising", total=len(chosen)) as advance:
        for one in chosen:
            results.append(materialize_view(registry, online, one, until=moment, settings=settings))
            advance(one.name)
    for result in results:
        if result.n_left_out:
            output.warn(f"{result.name}: {result.n_left_out:,} rows without a key or a time were left out")
    output.table(
        ["view", "new events", "events offline", "keys online", "newest (UTC)"],
        [
            [
                one.name,
                f"{one.n_new:,}",
                f"{one.n_rows:,}",
                f"{one.n_keys:,}",
                "" if one.newest is None else f"{one.newest:%Y-%m-%d %H:%M}",
            ]
            for one in results
        ],
    )
    output.result([vars(one) for one in results])


def _declared_here(folder: str | None) -> dict[str, DeclaredView]:
    from features.declarations import read_views

    path = Path(folder or ".")
    if not path.is_dir():
        raise ArgumentError(f"--folder {folder!r}: there is no such folder")
    return read_views(path.absolute())


def _declared_elsewhere(registry: Registry) -> dict[str, DeclaredView]:
    """Read again what other folders declare, where they are still there."""
    from features.declarations import read_views
    from registry.feature_views import list_views

    with registry.database.read() as session:
        rows = list_views(session)
    found: dict[str, DeclaredView] = {}
    for folder in sorted({row.folder for row in rows}):
        if Path(folder).is_dir():
            there = read_views(Path(folder))
            found |= {row.name: there[row.name] for row in rows if row.folder == folder and row.name in there}
    return found


def _open_online() -> OnlineStore:
    from features.online_store import OnlineStore

    return OnlineStore.from_settings(read_settings())


def _list(registry: Registry, online: OnlineStore, declared: dict[str, DeclaredView]) -> list[dict[str, Any]]:
    from features.views import FeatureView
    from registry.feature_views import list_uses, list_views
    from registry.models import find_alias

    with registry.database.read() as session:
        rows = {row.name: row for row in list_views(session)}
        uses = {name: list_uses(session, name) for name in {*rows, *declared}}
        models = {use.model for found in uses.values() for use in found}
        aliases = {model: find_alias(session, registry.environment, model) for model in models}
    champions = {model: alias.number for model, alias in aliases.items() if alias is not None}
    documents = []
    for name in sorted({*rows, *declared}):
        row, here = rows.get(name), declared.get(name)
        if here is not None:
            view = here.view
            if row is not None and row.digest != here.digest:
                row = None
        elif row is not None:
            view = FeatureView.model_validate(row.document)
        n_keys = 0 if row is None else online.count(row.digest)
        document = _describe(view, row, n_keys, uses[name])
        digest = here.digest if here is not None else rows[name].digest
        for use in document["models"]:
            use["is_champion"] = champions.get(use["model"]) == use["version"]
            use["is_current"] = use["digest"] == digest
        changed = here is not None and row is None and name in rows
        document["digest"] = digest
        document["state"] = "changed, not materialised since" if changed else _state(view, row, utc_now())
        documents.append(document)
    return documents


def _describe(view: FeatureView, row: FeatureViewRow | None, n_keys: int, uses: list[ViewUse]) -> dict[str, Any]:
    from base.sources.reading import name_source

    return {
        "name": view.name,
        "entity": view.entity.name,
        "keys": list(view.entity.keys),
        "source": name_source(view.place),
        "time": view.time,
        "owner": view.owner,
        "description": view.description,
        "freshness": None if view.freshness is None else describe_duration(view.freshness),
        "personal_keys": list(view.entity.personal),
        "features": {name: feature.model_dump() for name, feature in view.features.items()},
        "n_rows": 0 if row is None else row.n_rows,
        "n_segments": 0 if row is None else len(row.rows["segments"]),
        "n_keys": n_keys,
        "newest": None if row is None else row.newest,
        "materialized_at": None if row is None else row.materialized_at,
        "models": [
            {"model": use.model, "version": use.number, "features": list(use.features), "digest": use.digest}
            for use in uses
        ],
    }


def _name_marks(feature: Mapping[str, Any]) -> str:
    personal = {"hash": "personal, hashed", "drop": "personal, dropped", None: ""}[feature["personal"]]
    return ", ".join(mark for mark in ("sensitive" if feature["sensitive"] else "", personal) if mark)


def _state(view: FeatureView, row: FeatureViewRow | None, now: datetime) -> str:
    if row is None or row.newest is None:
        return "never materialised" if row is None or row.materialized_at is None else "no event yet"
    age = now - row.newest
    shown = _round(age)
    if view.freshness is None:
        return f"newest event {shown} old"
    if age <= view.freshness:
        return f"fresh, {shown} old"
    return f"{_round(age - view.freshness)} too late"


def _round(age: timedelta) -> str:
    """Write a duration for people, in its largest unit."""
    seconds = max(int(age.total_seconds()), 0)
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count:,} {name}{'' if count == 1 else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def _parse_until(until: str | None) -> datetime | None:
    if until is None:
        return None
    try:
        return parse_moment(until)
    except ValueError as error:
        raise ArgumentError(f"--until: {error}") from error


def _no_view(name: str, known: list[str]) -> ArgumentError:
    from base.errors import nearest

    return ArgumentError(
        f"there is no feature view {name!r}; known are {', '.join(sorted(known)) or 'none'}{nearest(name, known)}"
    )
