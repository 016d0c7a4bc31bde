"""Train every row of the catalogue that can feed a detector for ten iterations, and print what came of it as a table.

    python dev/train_rows.py work_dirs/rows
    python dev/train_rows.py work_dirs/rows mobileone_s0 fastvit_t8

Each is the command line of ``tools/train.py`` with --demo and few, small batches, in a process that is forked once
everything is imported: SSDLite on every row, Faster R-CNN on the first row of each family. What a row did lies in the
folder, and rows that are there are not trained again; remove their files to have them so. Exit status 1 if any failed.
"""

import argparse
import json
import math
import multiprocessing
import os
import re
import runpy
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

from benchmark.config.names import CONFIGS
from benchmark.files.atomic import write_atomically
from benchmark.files.run_folder import LOG

STEPS = 10
_TOOL = CONFIGS.parent / "tools" / "train.py"
_LOSS = re.compile(r"train +\d+/\d+ +loss (\S+)")
_OPTIONS = (
    *("train_images=16", "val_images=2", "train_dataloader.num_workers=0", "val_dataloader.num_workers=0"),
    *("default_hooks.logger.interval=1", "log_processor.window_size=1"),
)


@dataclass(frozen=True)
class Trained:
    """What a row's training did.

    Attributes:
        detector: the template's name.
        row: the backbone's.
        family: the backbone's.
        seconds: from the arguments to the end of the evaluation.
        first: loss of the first iteration, None where there was none.
        last: of the last one.
        error: what went wrong, empty for a training that ended well with finite losses.
    """

    detector: str
    row: str
    family: str
    seconds: float
    first: float | None
    last: float | None
    error: str


def choose() -> Iterator[tuple[str, str, str]]:
    """Yield detector, row and family of each training."""
    from backbones.catalogue import CATALOGUE, family_of

    rows = [(name, family_of(name)) for name, entry in CATALOGUE.items() if entry.channels]
    yield from (("ssdlite", name, family) for name, family in rows)
    first = {family: name for name, family in reversed(rows)}
    yield from (("faster_rcnn", name, family) for family, name in sorted(first.items()))


def train(detector: str, row: str, family: str, folder: Path) -> Trained:
    """Train a row in a process of its own."""
    run, printed = folder / "runs" / f"{detector}_{row}", folder / f"{detector}_{row}.txt"
    arguments = [str(CONFIGS / f"{detector}.py"), "--backbone", row, "--demo", "--steps", str(STEPS)]
    arguments += ["--batch-size", "2", "--data-root", str(folder / "data"), "--work-dir", str(run), "--overwrite"]
    before = time.perf_counter()
    process = multiprocessing.get_context("fork").Process(
        target=_call, args=([*arguments, "--cfg-options", *_OPTIONS], printed)
    )
    process.start()
    process.join()
    seconds = time.perf_counter() - before
    log = (run / LOG).read_text() if (run / LOG).is_file() else ""
    losses = [float(value) for value in _LOSS.findall(log)]
    first, last = (losses[0], losses[-1]) if losses else (None, None)
    good = process.exitcode == 0 and len(losses) == STEPS and all(map(math.isfinite, losses))
    error = "" if good else f"status {process.exitcode}, see {printed.name}"
    shutil.rmtree(run, ignore_errors=True)  # a checkpoint of every row would fill a disk
    return Trained(detector, row, family, seconds, first, last, error)


def _call(arguments: list[str], printed: Path) -> None:
    with printed.open("w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    sys.argv = [str(_TOOL), *arguments]
    runpy.run_path(str(_TOOL), run_name="__main__")


def table(found: list[Trained]) -> str:
    """Return the outcomes as a Markdown table, with their number below."""
    rows = [
        {
            "detector": done.detector,
            "backbone": done.row,
            "family": done.family,
            "seconds": f"{done.seconds:.0f}",
            "first loss": "-" if done.first is None else f"{done.first:.2f}",
            "last loss": "-" if done.last is None else f"{done.last:.2f}",
            "ok": done.error or "yes",
        }
        for done in found
    ]
    good = sum(not done.error for done in found)
    return f"{tabulate(rows, 'keys', 'github', disable_numparse=True)}\n\n{good} of {len(found)} trained."


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text))


def main() -> int:
    """Train what is not there yet, and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what the rows did lies here")
    parser.add_argument("backbones", nargs="*", metavar="NAME", help="these alone (default: all)")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)

    from benchmark.training.registration import register

    register()  # imports what every training needs
    found = []
    chosen = [one for one in choose() if not args.backbones or one[1] in args.backbones]
    if unknown := set(args.backbones) - {row for _, row, _ in chosen}:
        parser.error(f"no rows that can feed a detector: {', '.join(sorted(unknown))}")
    for detector, row, family in chosen:
        path = args.folder / f"{detector}_{row}.json"
        if not path.is_file():
            _write(path, json.dumps(asdict(train(detector, row, family, args.folder))))
        found.append(Trained(**json.loads(path.read_text())))
        print(found[-1].detector, found[-1].row, found[-1].error or "ok", file=sys.stderr, flush=True)
    print(table(found))
    return int(any(done.error for done in found))


if __name__ == "__main__":
    sys.exit(main())
