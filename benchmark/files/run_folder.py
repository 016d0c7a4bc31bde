"""Every name in the folders that tools write: of a run, of a sweep, of an experiment, of a table reproduced."""

import re
from collections.abc import Collection
from pathlib import Path

# A run, and what a training begins with.
RESULT = "result.json"
CONFIG = "config.py"
LOG = "run.log"
VIS_DATA = "vis_data"  # TensorBoard's
BEST = "best.pth"
WEIGHTS = "model.safetensors"  # of what is published
CARD = "README.md"  # likewise
_CHECKPOINT = re.compile(r"iter_(\d+)\.pth")
OWNER = ".owner"  # locked by the process that writes into the folder
DAMAGED = ".damaged"  # what a checkpoint's name ends in once it is set aside

# What its figures were counted from, and pictures of them.
DETECTIONS = "detections.json"
CONFUSION = "confusion.csv"
ANSWERS = "answers.csv"  # of a classifier, by picture
PICTURES = "pictures"
SHEET = "sheet.png"  # in PICTURES: all of them in one
DRAWN = "images"  # in PICTURES: each by itself, by its place in the data set
MARK = "drawn by rexnet-benchmark"  # in the text of every picture, which tells it from a user's own
_HEADER = 256  # bytes of a PNG that hold its text

# The diagnosis of runs, in a folder of its own.
DIAGNOSIS = "diagnosis.json"
DIAGNOSIS_PAGE = "diagnosis.html"

# Measured times, anywhere.
LATENCIES = "latency*.json"

# A sweep: its trials and its final training are runs.
JOURNAL = "sweep.journal"
TRIALS = "trials"
FINAL = "final"
GRID = "grid.png"
LOCK = ".lock"
FINAL_LOCK = ".final.lock"
POINT = "best.json"  # in FINAL: what it is trained with

# A series of runs.
SERIES = "series.json"
LOGS = "logs"  # what each of its runs printed

# An experiment.
ARTEFACT = "artefact.json"
EXPERIMENT = "experiment.json"  # its config, by which it is resumed
FIGURE = "figure"  # .svg and .png
UNITS = "units"  # what is done already
SEARCH = "search.journal"  # the models of its searches

# The reproduction of the paper's tables, in the first folder of runs.
REPRODUCED = "reproduce"

EVALUATION = "eval_"  # how the folder of a checkpoint's own evaluation begins

RUN_NAMES = (RESULT, DETECTIONS, CONFUSION, ANSWERS, BEST, CONFIG, LOG)
EVENTS = "events.out.tfevents.*"  # in VIS_DATA
TRACKER_LOG = "tracker_{}.log"  # likewise, by the tracker's name
_LOGGED = (EVENTS, "config.py", TRACKER_LOG.format("*"))


def slug(backbone: str) -> str:
    """Return a backbone's name as a part of a run's: ``timm-mobilenetv4_conv_small``."""
    return re.sub(r"[^\w.-]+", "-", backbone)


def is_run(folder: Path) -> bool:
    """Tell whether a folder holds a result, or a training that wrote none."""
    return (folder / RESULT).is_file() or ((folder / CONFIG).is_file() and (folder / LOG).is_file())


def run_files(folder: Path) -> list[Path]:
    """Return the files of a run in a folder, checkpoints first, and none of anybody else's."""
    damaged = sorted(folder.glob(f"iter_*.pth{DAMAGED}"))
    named = (path for name in RUN_NAMES if (path := folder / name).is_file())
    logged = (path for pattern in _LOGGED for path in sorted((folder / VIS_DATA).glob(pattern)))
    drawn = (path for path in sorted((folder / PICTURES).rglob("*.png")) if is_drawn(path))
    return [*list_checkpoints(folder), *damaged, *named, *logged, *drawn]


def set_aside(checkpoint: Path) -> None:
    """Rename a damaged checkpoint: nobody's work is thrown away."""
    checkpoint.rename(checkpoint.with_name(checkpoint.name + DAMAGED))


def remove_run(folder: Path, *, but: Collection[str] = ()) -> None:
    """Remove the files of a run but some names, and its folders where nothing else is in them."""
    for path in run_files(folder):
        if path.name not in but:
            path.unlink()
    for place in (folder / VIS_DATA, *sorted((folder / PICTURES).rglob("*/"), reverse=True), folder / PICTURES):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def is_drawn(path: Path) -> bool:
    """Tell whether a picture is one of ours."""
    with path.open("rb") as file:
        return MARK.encode() in file.read(_HEADER)


def checkpoint_path(folder: Path, iteration: int) -> Path:
    """Return the place of the checkpoint after so many iterations."""
    return folder / f"iter_{iteration}.pth"


def checkpoint_iteration(path: Path) -> int:
    """Return after how many iterations a checkpoint of ``checkpoint_path`` was written."""
    found = _CHECKPOINT.fullmatch(path.name)
    assert found, f"{path} is no checkpoint by its name"
    return int(found[1])


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    paths = (path for path in folder.glob("iter_*.pth") if _CHECKPOINT.fullmatch(path.name))
    return sorted(paths, key=checkpoint_iteration)


def evaluation_folder(checkpoint: Path) -> Path:
    """Return the place of a checkpoint's own evaluation: a folder in its run's, whose result it must not replace."""
    return checkpoint.parent / f"{EVALUATION}{checkpoint.stem}"


def trial_folder(sweep: Path, learning_rate: float, weight_decay: float) -> Path:
    """Return the place of a sweep's trial."""
    return sweep / TRIALS / f"lr{learning_rate:g}_wd{weight_decay:g}"


def trial_lock(sweep: Path, number: int) -> Path:
    """Return the file that the process which runs a trial holds a lock on."""
    return sweep / f".trial{number}.lock"


def sweep_of(folder: Path) -> Path | None:
    """Return the folder of the sweep that a folder is or lies in a trial of, None if there is none."""
    for parent in folder.absolute().parents:
        if parent.name == TRIALS and (parent.parent / JOURNAL).is_file():
            return parent.parent
    return None


def table_folder(folder: Path, number: int | str) -> Path:
    """Return the place of what the reproduction of a table measures."""
    return folder / REPRODUCED / f"table{number}"


def latency_path(folder: Path, device: str) -> Path:
    """Return the place of the times that the reproduction of a table measures."""
    return folder / f"latency_{device}.json"
