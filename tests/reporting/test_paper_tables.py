"""The paper's tables 1 and 4 and the design trend's table A from built networks, cell by cell."""

import json

import pytest
from helpers import run_tool

from benchmark.reporting.paper.blocks import read_architecture, structure
from benchmark.reporting.paper.counts import cell_rows, describe_cells
from benchmark.reporting.paper.tables import TABLES, read_table, table_number

pytestmark = pytest.mark.slow


def test_blocks_are_read_off_modules_and_maps():
    found = read_architecture("mobilenet_v3_large")
    blocks = [str(block) for block in found.blocks]
    assert found.stem == 16
    assert blocks[:4] == ["16-16,1,3", "64-24,2,3", "72-24,1,3", "72-40,2,5*"]
    assert blocks[-1] == "x-960,1,1"
    # 112x112 maps: stem, first block's two convolutions, expansion of the second
    assert found.activations > 112 * 112 * (16 + 16 + 16 + 64)
    row = {"stem": "16", "blocks": "", "stage1": "a", "stage2": "a b"}
    assert structure(row, found)["blocks"].startswith("16x1-24x2-40x3-80x4-")
    assert structure(row, found)["stage1"] == "16-16,1,3"
    assert structure(row, found)["stage2"].startswith("64-24,2,3 72-24,1,3 72-40,2,5*")  # and the rest


def test_mixed_kernels_are_one_depthwise_layer():
    assert str(read_architecture("mixnet_m").blocks[1]) == "144-32,2,3/5/7"
    assert str(read_architecture("atomnas_c_plus").blocks[1]) == "51-24,2,3/5/7*"


@pytest.mark.parametrize(("number", "agree", "cells"), [(1, 29, 32), (4, 34, 38), ("A", 77, 88)])
def test_every_cell_that_differs_says_why(number, agree, cells):
    rows = cell_rows(number)
    compared = [row for row in rows if row["agrees"] != "-"]
    assert (sum(row["agrees"] == "yes" for row in compared), len(compared)) == (agree, cells)
    assert [row for row in compared if row["agrees"] == "NO" and not row["note"]] == []
    assert f"{agree} of {cells} cells agree" in describe_cells(number, rows)


@pytest.mark.parametrize("number", [number for number, table in TABLES.items() if table.footnotes])
def test_footnotes_are_of_cells_that_are_printed(number):
    printed = {(row["label"], column) for row in read_table(number) for column, text in row.items() if text}
    assert TABLES[number].footnotes.keys() <= printed


def test_tables_are_named_by_number_or_letter():
    assert [table_number(text) for text in ("4", "table4", "a", "tableA")] == [4, 4, "A", "A"]


def test_the_tool_prints_a_tables_cells():
    run = run_tool("complexity.py", "--table", "1", "--json")
    assert run.returncode == 0, run.stderr
    found = {(row["model"], row["figure"]): row for row in json.loads(run.stdout)}
    assert found["MobileNetV2", "blocks"]["agrees"] == "yes"
    assert found["MobileNetV2", "activations"]["ours"] == "6.678"
