"""Params and multiply-adds of everything against the recorded ones, and the tables of docs/ against what makes them."""

import pytest
from golden import BLOCKS, recorded_counts
from helpers import sampled

from backbones.catalogue import list_backbones
from benchmark.config.names import list_leaves
from benchmark.measuring.golden import Counts, count_backbone, count_configs, differences
from benchmark.reporting.markers import marked

pytestmark = pytest.mark.slow


def assert_as_recorded(recorded: Counts, found: Counts) -> None:
    changed = differences(recorded, found)
    assert not changed, "counts differ from tests/golden/complexity.json; if that is meant: make golden tables\n" + (
        "\n".join(changed)
    )


@pytest.mark.parametrize("name", sampled(list_backbones()))
def test_no_backbones_count_has_changed_unnoticed(name):
    recorded = {"backbones": {name: recorded_counts()["backbones"].get(name)}}
    assert_as_recorded(recorded, {"backbones": {name: count_backbone(name)}})


@pytest.mark.slow
def test_no_configs_count_has_changed_unnoticed():
    assert_as_recorded({"configs": recorded_counts()["configs"]}, {"configs": count_configs()})


def test_every_backbone_and_config_is_recorded():
    recorded = recorded_counts()
    assert set(recorded["backbones"]) == set(list_backbones())
    assert set(recorded["configs"]) == {path.stem for path in list_leaves()}


def test_differences_name_what_changed():
    one, two = {"params": 1, "macs": 2, "input": "1x3x4x4"}, {"params": 1, "macs": 3, "input": "1x3x5x5"}
    recorded = {"backbones": {"a": one, "b": one, "gone": one}, "configs": {}}
    found = {"backbones": {"a": one, "b": two, "new": one}, "configs": {"c": one}}
    assert differences(recorded, found) == [
        "b: macs were 2, are 3",
        "b: input were 1x3x4x4, are 1x3x5x5",
        "gone: is gone",
        "new: is new",
        "c: is new",
    ]
    assert differences(found, found) == []


@pytest.mark.parametrize("name", BLOCKS)
def test_the_documents_tables_are_what_is_generated(name):
    path, make = BLOCKS[name]
    stale = f"the table between {path.name}'s {name} markers is stale: make tables"
    assert marked(make(), name) in path.read_text(encoding="utf-8"), stale
