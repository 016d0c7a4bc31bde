"""Params and multiply-adds of everything against the recorded ones, and the tables of docs/ against what makes them."""

import pytest
from golden import BLOCKS, recorded_counts

from benchmark.measuring.golden import count_everything, differences
from benchmark.reporting.markers import marked


@pytest.mark.slow
def test_no_count_has_changed_unnoticed():
    changed = differences(recorded_counts(), count_everything())
    assert not changed, "counts differ from tests/golden/complexity.json; if that is meant: make golden tables\n" + (
        "\n".join(changed)
    )


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
