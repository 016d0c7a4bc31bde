"""The end of a series of runs: its backbones timed once on this machine, then the decision."""

from pathlib import Path

from backbones.errors import UserError
from benchmark.files.run_folder import CONFIG
from benchmark.records.latency import LatencyFile
from benchmark.records.runs import Run, find_runs
from benchmark.reporting.decision import Constraints, check_out, decide, plain_text, write
from benchmark.reporting.decision.times import fits
from benchmark.reporting.leaderboard import make_report, render

_TIMES = "latency.json"


def conclude(folder: Path) -> str:
    """Time the backbones of a series unless they were, write its decision into its folder, and return it as text.

    Where no decision can be made the leaderboard is returned, with the reason.
    """
    said = []
    try:
        measure_times(folder)
    except UserError as error:
        said.append(f"No times: {error}")
    try:
        check_out(folder, [folder])
        decision = decide([folder], Constraints())
        page = write(decision, folder)
        return "\n".join([*said, plain_text(decision), f"{page}\n"])
    except UserError as error:
        return "\n".join([*said, render(make_report(find_runs([folder]))), f"No decision: {error}\n"])


def measure_times(folder: Path) -> None:
    """Time one run of each backbone below a folder, all in the same rounds, unless each has a time there.

    Raises:
        UserError: a model cannot be timed here.
    """
    found = find_runs([folder])
    first: dict[tuple[str, str], Run] = {}
    for run in found.runs:
        if (run.folder / CONFIG).is_file():
            first.setdefault((run.result.config.name, run.result.backbone), run)
    untimed = [run for run in first.values() if not any(fits(record, run.result) for record in found.timings)]
    if not untimed:
        return
    import torch

    from benchmark.measuring.latency import Settings, measure

    settings = Settings(device="cuda" if torch.cuda.is_available() else "cpu")
    records = measure([str(run.folder / CONFIG) for run in first.values()], settings)
    LatencyFile(latencies=records).write(folder / _TIMES)
