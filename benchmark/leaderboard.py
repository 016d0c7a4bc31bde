"""Results -> tables; pure functions. One leaderboard a task and data set, so generated data never meet real ones."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tabulate import tabulate

from benchmark.errors import UserError
from benchmark.paper_tables import read_table
from benchmark.results import FILE_NAME, Result, read_result
from benchmark.tasks import TASKS

NOTE = (
    'AP and accuracy in percent, params in M, multiply-adds (the paper\'s "FLOPs") in B at the input. '
    "'-' was not measured."
)


def find_results(folders: Iterable[Path]) -> tuple[list[Result], list[str]]:
    """Read every result.json below the folders; return the results, and what is wrong with the unreadable ones."""
    results, problems = [], []
    for folder in folders:
        if not folder.is_dir():
            problems.append(f"Folder not found: {folder}.")
        for path in sorted(folder.rglob(FILE_NAME)):
            try:
                results.append(read_result(path))
            except UserError as error:
                problems.append(str(error))
    return results, problems


def markdown(results: Sequence[Result]) -> str:
    """Return the leaderboards of all results, best first."""
    groups: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for result in results:
        groups[result.task, result.data.name, result.data.split].append(result)
    sections = [_section(*key, group) for key, group in sorted(groups.items())]
    return "\n\n".join([*sections, NOTE]) if sections else "No results."


def _section(name: str, data: str, split: str, results: Sequence[Result]) -> str:
    task = TASKS[name]
    paper = {
        row["backbone"]: row[task.paper_column]
        for row in read_table(task.paper_table)
        if row.get("dataset", data) == data
    }
    ranked = sorted(results, key=lambda result: _or_below_all(result.metrics.get(task.ranking)), reverse=True)
    demo = any(result.data.demo for result in results)
    rows = [
        _row(result, (task.ranking, *task.figures), None if demo else paper.get(result.backbone)) for result in ranked
    ]
    title = f"{task.title}, {data} {split}{' (generated data, not comparable to real ones)' if demo else ''}"
    return (
        f"### {title}\n\n{tabulate(rows, headers='keys', tablefmt='github', disable_numparse=True, stralign='right')}"
    )


def _row(result: Result, figures: Sequence[str], paper: str | None) -> dict[str, str]:
    height, width = result.cost.input[2:]
    training = result.training
    return {
        "backbone": result.backbone,
        **{name.replace("box_", ""): _figure(result.metrics.get(name)) for name in figures},
        "paper": paper or "-",
        "params": f"{result.cost.params / 1e6:.2f}",
        "multiply-adds": f"{result.cost.macs / 1e9:.2f}",
        "input": f"{width}x{height}",
        "pretrained": _origin(training.pretrained) if training else "-",
        "hours": _figure(training and training.hours, 2),
        "precision": training.precision if training else "-",
        "seed": str(training.seed) if training else "-",
        "notes": ", ".join(_notes(result)),
    }


def _or_below_all(value: float | None) -> float:
    return -1.0 if value is None else value


def _figure(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _origin(pretrained: str | None) -> str:
    return Path(pretrained).name if pretrained else "none"


def _notes(result: Result) -> list[str]:
    notes = []
    if result.data.demo:
        notes.append("demo")
    if result.data.partial:
        notes.append(f"partial ({result.data.images} images)")
    if result.training and result.training.partial:
        notes.append("trained on a part")
    if result.provenance.git_dirty:
        notes.append("changed code")
    return notes
