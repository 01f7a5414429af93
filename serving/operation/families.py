"""Metrics as plain data: measured in each worker, added up over all of them, written for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min"]
Value = float | list[float]


@dataclass
class Family:
    """One metric with its samples.

    Parameters
    ----------
    name : str
        Without the ``_total`` of counters.
    merge : str
        What several workers' values of one sample become; counters and histograms are always added.
    samples : dict
        Values by label values. A histogram's are the counts of its buckets, not added up, and then the sum.
    """

    name: str
    kind: Kind
    told: str
    labels: tuple[str, ...] = ()
    merge: Merge = "sum"
    bounds: tuple[float, ...] = ()
    samples: dict[tuple[str, ...], Value] = field(default_factory=dict)

    def set(self, value: Value, *labels: str) -> Family:
        """Set one sample."""
        self.samples[labels] = value
        return self

    def as_json(self) -> dict[str, Any]:
        """The family as a document."""
        return vars(self) | {"samples": [[list(labels), value] for labels, value in self.samples.items()]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Family:
        """Read what :meth:`as_json` wrote."""
        samples = {tuple(labels): value for labels, value in document["samples"]}
        tuples = {"labels": tuple(document["labels"]), "bounds": tuple(document["bounds"])}
        return cls(**(document | tuples | {"samples": samples}))


def merge_families(workers: Iterable[Sequence[Family]]) -> list[Family]:
    """Add up what several workers measured.

    Examples
    --------
    >>> one = Family("rows", "counter", "Rows.", ("model",)).set(3, "trips")
    >>> two = Family("rows", "counter", "Rows.", ("model",)).set(4, "trips").set(1, "bike")
    >>> merge_families([[one], [two]])[0].samples
    {('trips',): 7, ('bike',): 1}
    """
    merged: dict[str, Family] = {}
    for families in workers:
        for family in families:
            into = merged.setdefault(
                family.name,
                Family(family.name, family.kind, family.told, family.labels, family.merge, family.bounds),
            )
            for labels, value in family.samples.items():
                before = into.samples.get(labels)
                into.samples[labels] = value if before is None else _merge(into.merge, before, value)
    return list(merged.values())


def write_prometheus(families: Sequence[Family], *, accept: str) -> tuple[bytes, str]:
    """Write families in the format that a scraper accepts: OpenMetrics or Prometheus's own text; and its media type."""
    # A third of a second to import, and the first scrape is seconds away.
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    class Families:
        def collect(self) -> Iterator[Any]:
            return (_as_metric(family) for family in families)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families())
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


def _as_metric(family: Family) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.told, labels=family.labels)
        for labels, value in family.samples.items():
            if isinstance(value, list):
                histogram.add_metric(labels, _cumulated(family.bounds, value[:-1]), sum_value=value[-1])
        return histogram
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = make(family.name, family.told, labels=family.labels)
    for labels, value in family.samples.items():
        if not isinstance(value, list):
            metric.add_metric(labels, value)
    return metric


def _cumulated(bounds: Sequence[float], counts: Sequence[float]) -> list[tuple[str, float]]:
    total, buckets = 0.0, []
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
    return buckets


def _merge(how: Merge, one: Value, other: Value) -> Value:
    if isinstance(one, list) and isinstance(other, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    if isinstance(one, list) or isinstance(other, list):
        raise TypeError("a histogram and a number have one name")
    return one + other if how == "sum" else max(one, other) if how == "max" else min(one, other)
