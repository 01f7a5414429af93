"""`everfit signing-key`: by which keys versions are signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.installation import read_settings

if TYPE_CHECKING:
    from console.output import Output


def signing_key_command(*, new: bool, output: Output) -> None:
    """Name the keys, which does not tell them; draw a new one where that is asked for.

    Raises
    ------
    ArgumentError
        If a new key is asked for and the keys come from the environment.
    """
    from base.signatures import add_signing_key, signing_keys

    settings = read_settings()
    keys = add_signing_key(settings) if new else signing_keys(settings)
    where = "EVERFIT_SIGNING_KEY" if settings.signing_key is not None else str(settings.home.absolute() / "signing.key")
    output.table(
        ["key", "what for"],
        [[name, "signs" if at == 0 else "is still believed"] for at, name in enumerate(keys.names)],
    )
    output.say(f"The keys are in {where}; every machine that trains or serves these models needs the same.")
    output.result({"signs": keys.names[0], "believed": list(keys.names), "where": where})
