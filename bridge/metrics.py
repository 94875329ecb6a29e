"""prometheus-client's only door: families of numbers become the text that Prometheus scrapes.

Labels are names of ours (feeds, destinations, states, kinds): never a value that came in a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: `samples` are (values of `labels`, number). A counter's name ends in `_total` on the wire."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    samples: tuple[tuple[tuple[str, ...], float], ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


def render(families: Iterable[Family]) -> bytes:
    """The text exposition format 0.0.4, UTF-8."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(tuple(families)))
    return generate_latest(registry)


class _Given(Collector):
    def __init__(self, families: tuple[Family, ...]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            made = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(
                family.name, family.help, labels=family.labels
            )
            for labels, number in family.samples:
                made.add_metric(labels, number)
            yield made
