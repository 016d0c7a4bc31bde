"""docs/extending.md, followed to the letter in a copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from finegrained_layouts import picture
from helpers import REPOSITORY

pytestmark = pytest.mark.slow

GUIDE = REPOSITORY / "docs" / "extending.md"
COPIED = ("backbones", "benchmark", "configs", "tools", "tests", "dev", "pyproject.toml")
BLOCK = re.compile(
    r"^(?:New file|In) `(?P<path>[^`]+)`(?:, (?P<side>after|before) `(?P<anchor>[^`]+)`)?:\n\n"
    r"```python\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SMALL = ("train_images=8", "val_images=4", "train_dataloader.num_workers=0", "val_dataloader.num_workers=0")


class Step(NamedTuple):
    """What the guide says to write: a new file or, with an anchor, lines after or before one of a file."""

    path: str
    side: str | None
    anchor: str | None
    text: str


def steps(guide: str) -> list[Step]:
    """Return the steps of a guide in order."""
    return [Step(*match.group("path", "side", "anchor", "text")) for match in BLOCK.finditer(guide)]


def follow(step: Step, root: Path) -> None:
    """Do what a step says, and nothing else."""
    path = root / step.path
    if step.anchor is None:
        assert not path.exists(), f"{step.path} is no new file"
        path.write_text(step.text)
        return
    lines = path.read_text().splitlines(keepends=True)
    [place] = [number for number, line in enumerate(lines) if line.strip() == step.anchor]
    lines.insert(place + (step.side == "after"), step.text)
    path.write_text("".join(lines))


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of the repository with everything in it that the guide adds."""
    root = tmp_path_factory.mktemp("extended")
    for name in COPIED:
        source = REPOSITORY / name
        ignored = shutil.ignore_patterns("__pycache__")
        (shutil.copytree(source, root / name, ignore=ignored) if source.is_dir() else shutil.copy(source, root))
    for step in steps(GUIDE.read_text()):
        follow(step, root)
    return root


def run(root: Path, *command: str | Path) -> str:
    """Run Python on the copy and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_guide_has_no_block_that_is_not_followed():
    guide = GUIDE.read_text()
    assert len(steps(guide)) == guide.count("```python")


def test_what_is_added_passes_its_own_tests_and_those_of_every_row(extended):
    added = [step.path for step in steps(GUIDE.read_text()) if step.path.startswith("tests/")]
    general = ["tests/test_floors.py", "tests/records/test_figures.py", "tests/test_tasks.py"]
    assert len(added) >= 3
    run(extended, "-m", "pytest", "-q", "-p", "no:cacheprovider", *added, *general)


def test_a_toy_family_task_and_metric_reach_the_leaderboard(extended):
    """Trained, evaluated and listed through the command lines."""
    options = ("--demo", "--backbone", "pebble_x0.5", "--cfg-options", *SMALL)
    run(extended, "tools/train.py", "configs/scratch.py", "--steps", "2", *options)
    checkpoint = "work_dirs/scratch_pebble_x0.5_demo/iter_2.pth"
    run(extended, "tools/eval_finegrained.py", "configs/scratch.py", checkpoint, *options)
    table = run(extended, "tools/summarize.py")
    assert "Food-101 from random weights" in table and "worst class" in table
    boards = json.loads(run(extended, "tools/summarize.py", "--format", "json"))["leaderboards"]
    rows = [row for board in boards for row in board["rows"]]
    assert {row["backbone"] for row in rows} == {"pebble_x0.5"}
    assert all(0 <= row["worst_class"]["mean"] <= row["top1"]["mean"] <= 100 for row in rows)


def test_own_data_in_cocos_format_are_checked(extended):
    run(extended, "tools/make_demo_data.py", "data/shapes", "--train-images", "4", "--val-images", "2")
    rows = json.loads(
        run(
            extended,
            "tools/check_data.py",
            "configs/ssdlite.py",
            "--dataset",
            "shapes",
            "--backbone",
            "rexnet_x1.0",
            "--json",
        )
    )
    assert {row["status"] for row in rows} == {"ok"}


def test_own_layout_is_checked(extended):
    for number, split in enumerate(("train", "val", "test")):
        names = [f"texture_{label:02d}/{number}.jpg" for label in range(47)]
        for label, name in enumerate(names):
            picture(extended / "data/dtd/dtd/images" / name, label, side=8)
        labels = extended / f"data/dtd/dtd/labels/{split}1.txt"
        labels.parent.mkdir(exist_ok=True)
        labels.write_text("".join(f"{name}\n" for name in names))
    rows = json.loads(
        run(extended, *["tools/check_data.py", "dtd", "--data-root", "data", "--allow-partial", "--json"])
    )
    assert {row["status"] for row in rows} <= {"ok", "warning"}
    assert any("94 images, 47 classes" in str(row) for row in rows)
