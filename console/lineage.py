"""`everfit lineage`: what a model version came from, as a tree, as JSON, or as OpenLineage events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from sqlmodel import Session

    from console.output import Output
    from registry.lineage import Lineage, LineageStep
    from registry.tables import ModelVersion

_SHOWN = 12


@dataclass
class Branch:
    """A line of the tree with what hangs below it."""

    text: str
    below: list[Branch] = field(default_factory=list)

    def add(self, text: str) -> Branch:
        """Hang a line below this one, and return it."""
        self.below.append(Branch(text))
        return self.below[-1]

    def lines(self) -> list[str]:
        """Draw the tree.

        Examples
        --------
        >>> tree = Branch("bike@7")
        >>> _ = tree.add("run").add("step")
        >>> _ = tree.add("code")
        >>> tree.lines()
        ['bike@7', '├── run', '│   └── step', '└── code']
        """
        drawn = [self.text]
        for place, branch in enumerate(self.below):
            is_last = place == len(self.below) - 1
            first, *others = branch.lines()
            drawn.append(f"{'└── ' if is_last else '├── '}{first}")
            drawn += [f"{'    ' if is_last else '│   '}{line}" for line in others]
        return drawn


def lineage_command(name: str, *, openlineage: str | None, output: Output) -> None:
    """Say what a version came from, or send it as OpenLineage events to a file or an address.

    Raises
    ------
    VersionNotFound
        If there is no such version.
    RunFailed
        If the events are not taken.
    """
    from registry.lineage import describe_lineage, trace_lineage
    from registry.models import resolve_version

    registry = open_registry(read_settings())
    with registry.database.read() as session:
        version = resolve_version(session, registry.environment, name)
        lineage = trace_lineage(session, version)
        document = describe_lineage(lineage, version)
        if openlineage is not None:
            document["openlineage"] = _send(session, version, openlineage, output)
    if openlineage is None:
        for line in draw_tree(lineage, version).lines():
            output.say(line)
    output.result(document)


def draw_tree(lineage: Lineage, version: ModelVersion) -> Branch:
    """Draw where a version came from: its run, the run's steps, their data, the code and the libraries."""
    manifest = version.manifest
    tree = Branch(f"{lineage.model}@{lineage.number}  model {manifest['model_file']['digest'][:_SHOWN]}")
    if manifest.get("sibling"):
        tree.add(f"judged as its sibling, model {manifest['sibling']['model_file']['digest'][:_SHOWN]}")
    run = tree.add(f"run {lineage.run_id}, {lineage.started_at:%Y-%m-%d %H:%M} UTC, asked for by {lineage.trigger}")
    for step in lineage.steps:
        how = "reused" if step.reused else f"{step.seconds:.1f} s"
        below = run.add(f"{step.step}  {step.output_digest[:_SHOWN]}  ({how}{_tell_output(step)})")
        for name, digest in step.inputs.items():
            below.add(f"from {name} {digest[:_SHOWN]}")
    data = tree.add("data")
    place = data
    for snapshot in lineage.snapshots:
        gone = "" if snapshot.deleted_at is None else f", its files deleted on {snapshot.deleted_at:%Y-%m-%d}"
        place = place.add(
            f"snapshot {snapshot.digest[:_SHOWN]}  {snapshot.n_rows:,} rows, {snapshot.n_new:,} new{gone}"
        )
    place.add(f"source {lineage.source}")
    for view in lineage.views:
        data.add(f"feature view {view['name']}  {view['digest'][:_SHOWN]}, {view['rows']:,} events")
    code = tree.add(f"definition and code {lineage.pipeline_version[:_SHOWN]}")
    for name, artifact in sorted(manifest["code"].items()):
        code.add(f"{name}  {artifact['digest'][:_SHOWN]}")
    features = manifest["plan"]
    names = [*features["numeric"], *features["categorical"]]
    tree.add(f"{len(names)} features: {', '.join(names)}")
    libraries = tree.add(f"libraries {manifest['environment'][:_SHOWN]}")
    for name, number in sorted(manifest["libraries"].items()):
        libraries.add(f"{name} {number}")
    return tree


def _tell_output(step: LineageStep) -> str:
    output = step.output
    if step.step == "extract":
        rows = sum(each["n_stored"] - each["n_dropped"] for each in output["rows"]["segments"])
        return f"; {rows:,} rows"
    if step.step == "validate_data":
        return f"; {sum(output['reasons'].values()):,} rows set aside"
    if step.step == "prepare":
        sizes = {name: output[name]["stop"] - output[name]["start"] for name in ("train", "validation", "test")}
        return "; " + ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    if step.step == "validate_model":
        return f"; {output['outcome']}"
    return ""


def _send(session: Session, version: ModelVersion, target: str, output: Output) -> dict[str, Any]:
    from base.errors import RunFailed
    from registry.openlineage import describe_run, send_events
    from registry.tables import Run

    events = describe_run(session, session.get_one(Run, version.run_id))
    try:
        count = send_events(events, target)
    except Exception as error:
        raise RunFailed(
            f"the OpenLineage events of {version.model}@{version.number} were not taken by {target!r}: "
            f"{type(error).__name__}: {error}; nothing else depends on them, try again when it answers"
        ) from error
    output.say(f"{count} OpenLineage events of {version.model}@{version.number} went to {target}")
    return {"target": target, "events": count}
