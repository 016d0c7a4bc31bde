"""The paper's tables of classifiers beside our counts, and its figures in the leaderboards."""

import pytest

from benchmark.leaderboard import markdown
from benchmark.paper_tables import compare_complexity
from benchmark.results import ConfigRecord, CostRecord, DataRecord, Provenance, Result


@pytest.mark.parametrize(("table", "rows"), ((5, 9), (8, 12)))
def test_tables_agree_to_their_printed_digits(table, rows):
    found = compare_complexity(table)
    assert len(found) == rows
    # The figures of EfficientNet-B1 and B2 are quoted from their authors, who count otherwise than the definition.
    other = {row.row["backbone"] for row in found if row.verdict != "yes"}
    assert other == ({"efficientnet_b1", "efficientnet_b2"} if table == 5 else set())
    assert {row.verdict for row in found} <= {"yes", "within 5%"}


def result(data: str) -> Result:
    return Result(
        task="finegrained",
        backbone="rexnet_x1.0",
        config=ConfigRecord(name="c", sha256="0"),
        data=DataRecord(name=data, split="test", images=9, annotations_sha256="0"),
        metrics={"top1": 12.3, "top5": None, "mean_per_class": 4.0},
        cost=CostRecord(params=1, macs=1, input=(1, 3, 224, 224)),
        training=None,
        provenance=Provenance(
            git_commit=None,
            git_dirty=None,
            versions={},
            python="3",
            device="CPU",
            precision="fp32",
            world_size=1,
            date="2026-01-01",
        ),
    )


@pytest.mark.parametrize(("data", "paper"), (("Food-101", "88.4"), ("Aircraft", "89.5"), ("ImageFolder", "-")))
def test_a_leaderboard_shows_its_own_data_sets_paper_figure(data, paper):
    heading, _, names, _, values, *_ = markdown([result(data)]).splitlines()
    names, values = ([cell.strip() for cell in line.strip("|").split("|")] for line in (names, values))
    found = dict(zip(names, values, strict=True))
    assert data in heading and found["paper"] == paper and (found["top1"], found["top5"]) == ("12.3", "-")
