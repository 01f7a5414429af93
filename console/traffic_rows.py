"""`everfit traffic show`: logged predictions, the newest or one by its id."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output

_OWN = ("id", "version", "arm", "path", "kind", "predicted_at", "event_time", "prediction", "probabilities", "micros")
_MOST_SHOWN_COLUMNS = 6


def show_command(model: str, *, last: int, name: str | None, output: Output) -> None:
    """Print the newest predictions of a model, or one.

    Raises
    ------
    ArgumentError
        If nothing was logged, or nothing under this id.
    """
    from serving.log.newest import read_newest, read_prediction

    settings = read_settings()
    registry = None if is_registry_new(settings) else open_registry(settings)
    home = settings.home.absolute()
    if name is None:
        rows = read_newest(home, model, last, registry=registry)
    else:
        rows = read_prediction(home, model, name, registry=registry)
    if rows.empty and name is not None:
        raise ArgumentError(f"no prediction of {model!r} has the id {name!r}; expected one that an answer named")
    if rows.empty:
        raise ArgumentError(f"no prediction of {model!r} is logged; `everfit traffic status` lists the models")
    documents = [_document(row) for row in rows.to_dict("records")]
    if name is None:
        columns = list(documents[0]["row"])[:_MOST_SHOWN_COLUMNS]
        output.table(
            ["id", "predicted at (UTC)", "version", "arm", "path", "ms", "prediction", *columns],
            [
                [
                    one["id"],
                    f"{one['predicted_at']:%Y-%m-%d %H:%M:%S}",
                    one["version"],
                    one["arm"],
                    one["path"],
                    f"{one['micros'] / 1000:.1f}",
                    f"{one['prediction']:g}",
                    *(one["row"].get(column) for column in columns),
                ]
                for one in documents
            ],
        )
    else:
        for document in documents:
            for key, value in (document | document["row"]).items():
                if key != "row":
                    output.say(f"{key}: {value}")
    output.result(documents)


def _document(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    plain = {str(key): _plain(value) for key, value in row.items()}
    own = {key: plain.pop(key) for key in _OWN if plain.get(key) is not None}
    return own | {"row": plain}


def _plain(value: Any) -> Any:
    import pandas as pd

    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return value
    if pd.isna(value):
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
