"""docs/trusting.md: every promise has its test."""

import ast
import re

import pytest
from helpers import REPOSITORY

LINES = [
    line
    for line in (REPOSITORY / "docs" / "trusting.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| promise")
]
TESTS = sorted({test for line in LINES for test in re.findall(r"`(tests/[^`]+)`", line)})


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[2:60])
def test_a_promise_names_a_test(line):
    assert re.fullmatch(r"\| .+ \| `tests/[^|]+` \||\| .+ \| `tests/[^|]+; `make [a-z]+` \|", line)


@pytest.mark.parametrize("test", TESTS)
def test_a_named_test_exists(test):
    path, name = test.split("::")
    body = ast.parse((REPOSITORY / path).read_text()).body
    assert name in {node.name for node in body if isinstance(node, ast.FunctionDef)}
