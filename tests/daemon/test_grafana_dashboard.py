"""The dashboard asks for what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.config import Settings
from mirror.daemon.metrics import Figures

FILE = Path(__file__).parents[2] / "config/grafana-dashboard.json"
FUNCTIONS = {"time", "sum", "min", "max", "increase", "rate", "changes", "histogram_quantile", "label_values"}
WORDS = {"by", "and", "on"}


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def queries(thing: Any) -> Iterator[str]:
    """Every query of it, wherever it stands."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            if key in ("expr", "definition") and isinstance(value, str):
                yield value
            else:
                yield from queries(value)
    elif isinstance(thing, list):
        for one in thing:
            yield from queries(one)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every sample's name that the registry gives, with the labels it has."""
    settings = Settings.model_validate({"store": tmp_path_factory.mktemp("figures")})
    figures = Figures(settings)
    figures._requests.labels("api", "200").inc()  # the one that has no sample before it is counted
    found: dict[str, set[str]] = {}
    for family in figures.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_query_is_of_metrics_and_labels_that_there_are(
    dashboard: dict[str, Any], there: dict[str, set[str]]
) -> None:
    found = list(queries(dashboard))
    assert len(found) > 30
    for query in found:
        bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", query)
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", bare))
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", bare):
            labels |= set(re.split(r",\s*", group))
        rest = re.sub(r"\{[^}]*\}|\b(?:by|on) \([^)]*\)", "", bare)
        names = set(re.findall(r"[a-z_][a-z0-9_]*", rest)) - FUNCTIONS - WORDS - {"instance"}
        assert names, query
        assert names <= there.keys(), query
        assert labels <= {"instance"}.union(*(there[name] for name in names)), query


def test_what_is_opened_is_closed(dashboard: dict[str, Any]) -> None:
    pairs = {")": "(", "]": "[", "}": "{"}
    for query in queries(dashboard):
        open_ones: list[str] = []
        for character in re.sub(r'"[^"]*"', "", query):
            if character in pairs.values():
                open_ones.append(character)
            elif character in pairs:
                assert open_ones.pop() == pairs[character], query
        assert not open_ones, query


def test_every_metric_of_ours_that_matters_is_shown(dashboard: dict[str, Any], there: dict[str, set[str]]) -> None:
    asked = " ".join(queries(dashboard))
    left_out = {"dandi_mirror_job_running", "dandi_mirror_job_start_time_seconds"}
    for name in there:
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        if name.startswith("dandi_mirror_") and name not in left_out:
            assert family in asked, name


def test_it_can_be_imported(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] >= 36
    assert dashboard["id"] is None  # Grafana gives one
    variables = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource": "datasource", "instance": "query"}
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert [target["refId"] for target in panel["targets"]] == list("ABCDEFG")[: len(panel["targets"])]
    taken = [(x, y) for panel in panels for x, y in _cells(panel["gridPos"])]
    assert len(set(taken)) == len(taken)  # none lies upon another


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y
