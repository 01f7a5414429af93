"""The settings of Prefect in a process of ours: read again when the environment has changed."""

from __future__ import annotations


def reread_settings() -> None:
    """Take over the environment's settings in this process and all its threads, and turn heartbeats off.

    Prefect reads its settings when it is imported. Its heartbeats of a flow run would hold up the end of each run
    by up to a second (the thread that sends them is waited for, and looks once a second whether it should stop);
    no variable turns them off. Everfit's runs have a lease, and the warm worker reports runs whose process died.
    """
    import prefect.context

    prefect.context.refresh_global_settings_context()
    context = prefect.context.GLOBAL_SETTINGS_CONTEXT
    flows = context.settings.flows.model_copy(update={"heartbeat_frequency": None})
    settings = context.settings.model_copy(update={"flows": flows})
    prefect.context.GLOBAL_SETTINGS_CONTEXT = context.model_copy(update={"settings": settings})
