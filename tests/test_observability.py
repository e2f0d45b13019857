"""Metrics, their table in docs/METRICS.md, the alerts and the dashboard name the same things."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from backend import plugin
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from backend.queue.enqueue import Jobs
from backend.queue.figures import Figures
from backend.settings import Settings
from backend.web.app import create_app
from tests.backend.web.requests import connected
from tests.backend.web.watch.test_metrics import SCORES, version_in

ROOT = Path(__file__).parents[1]
WATCHED = ROOT / "deploy/observability"
ALERTS = [rule for group in yaml.safe_load((WATCHED / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((WATCHED / "grafana/mgral.json").read_text())
ROW = re.compile(r"^\| `(mgral_\w+)` \| (counter|gauge|histogram) \|([^|]*)\|", re.MULTILINE)
TABLE = {
    name: (kind, set(re.findall(r"`(\w+)`", labels)))
    for name, kind, labels in ROW.findall((ROOT / "docs/METRICS.md").read_text())
}
PROMETHEUS = {"up": {"job", "instance"}}  # what it adds itself
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
QUERIES = [
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in ALERTS),
    *(
        pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ),
]


@pytest.fixture
def told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, set[str]]]:
    """Name -> (type, labels) of each metric of an installation in which there is something of everything."""
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    connected(settings, 1)
    name = version_in(store_of(settings, 1), SCORES)
    published_of(settings, 1).publish(Publication(f"{name}-r001", name, "mgral", 9, ranked="2026-11-27T10:00:00+00:00"))
    jobs = Jobs(settings)
    figures = Figures(jobs.connection, settings.queue_name)
    figures.job(jobs.enqueue("train", 1)[0], 5.0)
    figures.see(1, 400, 120, shown=True)
    client = create_app(settings).test_client()
    client.get("/health")
    found = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        assert family.samples, f"{family.name} has no sample here: let the fixture make one"
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[family.name + ("_total" if family.type == "counter" else "")] = (family.type, labels)
    return found


def test_the_table_is_what_is_scraped(told: dict[str, tuple[str, set[str]]]) -> None:
    assert told == TABLE


@pytest.mark.parametrize("query", QUERIES)
def test_queries_ask_for_what_there_is(query: str) -> None:
    known = PROMETHEUS | {
        name + suffix: labels | PROMETHEUS["up"] | ({"le"} if suffix == "_bucket" else set())
        for name, (kind, labels) in TABLE.items()
        for suffix in SUFFIXES[kind]
    }
    asked = promql.parse(query.replace("$__rate_interval", "5m"))
    selectors = [node for node in nodes(asked) if isinstance(node, promql.VectorSelector)]
    assert selectors
    for selector in selectors:
        assert selector.name in known
        assert {matcher.name for matcher in selector.matchers.matchers} <= known[selector.name]
    grouped = {label for node in nodes(asked) if isinstance(node, promql.AggregateExpr) for label in by(node)}
    assert grouped <= set().union(*(known[selector.name] for selector in selectors))


def test_every_metric_is_shown_or_alerted_about() -> None:
    text = " ".join(str(query.values[0]) for query in QUERIES)
    assert [name for name in TABLE if name not in text] == []


def test_alerts_say_what_to_do() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "remedy"}
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert named <= {"instance", *re.findall(r"by \((\w+)\)", rule["expr"])}


def test_the_dashboard_uses_the_data_source_that_is_set_up() -> None:
    (source,) = yaml.safe_load((WATCHED / "grafana/datasource.yml").read_text())["datasources"]
    for panel in DASHBOARD["panels"]:
        assert panel.get("datasource", {}).get("uid", source["uid"]) == source["uid"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def nodes(node: Any) -> Iterator[Any]:
    """A query's node and all below it."""
    yield node
    for name in ("lhs", "rhs", "expr", "param", "args", "vector_selector"):
        below = getattr(node, name, None)
        for one in below if isinstance(below, list) else [below]:
            if one is not None:
                yield from nodes(one)


def by(node: promql.AggregateExpr) -> list[str]:
    """The labels that an aggregation names."""
    return list(node.modifier.labels) if node.modifier is not None else []
