"""Records and leaderboards answer without PyTorch."""

import subprocess
import sys

import pytest
from golden import LEADERBOARD
from helpers import REPOSITORY

IMPORT_RECORDS = """
import importlib, pkgutil, benchmark.records
for module in pkgutil.walk_packages(benchmark.records.__path__, "benchmark.records."):
    importlib.import_module(module.name)
"""
SUMMARIZE = """
import runpy, sys
sys.argv = ["summarize.py", {!r}, "--paper", "--format", {!r}]
try:
    runpy.run_path("tools/summarize.py", run_name="__main__")
except SystemExit:
    pass
"""


def loaded(script: str) -> list[str]:
    """What of the heavy packages a fresh process has imported after a script."""
    script += "import sys\nprint('loaded', *({'torch', 'torchvision', 'mmengine', 'mmdet', 'timm'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    return run.stdout.splitlines()[-1].split()[1:]


def test_records_import_no_torch():
    assert loaded(IMPORT_RECORDS) == []


@pytest.mark.parametrize("format", ["markdown", "json", "html"])
def test_a_leaderboard_compared_with_the_paper_needs_no_torch(format):
    assert loaded(SUMMARIZE.format(str(LEADERBOARD / "runs"), format)) == []
