"""Time exported files on any machine that has their runtimes and NumPy, in interleaved rounds, and write deploy.json.

PyTorch and the rest of this program are not needed: ``portable.pyz``, written beside the files, is all of it.
"""

import datetime
import json
import os
import platform
import sys
import zipfile
from pathlib import Path
from typing import Any

from backbones.errors import UserError
from benchmark.cli import Parser, run, whole_number
from benchmark.inference.deploy.workers import SAMPLE, Subject, Timed, serve, time_subjects
from benchmark.inference.export.formats import FORMATS, format_of
from benchmark.measuring.machine import available_cores, busy_share, processor

BUNDLE, TABLE = "portable.pyz", "deploy.json"
_BUSY = 0.2  # share of the machine
_FIGURES = {"SSDLite": "box_AP", "Faster R-CNN": "box_AP", "Mask R-CNN": "mask_AP", "classifier": "top1"}
# What a bundle holds besides the modules of the formats.
_MODULES = (
    "backbones/__init__.py",
    "backbones/errors.py",
    "backbones/tensors.py",
    "benchmark/__init__.py",
    "benchmark/cli.py",
    "benchmark/files/__init__.py",
    "benchmark/files/atomic.py",
    "benchmark/files/cache.py",
    "benchmark/inference/__init__.py",
    "benchmark/inference/deploy/__init__.py",
    "benchmark/inference/deploy/portable.py",
    "benchmark/inference/deploy/workers.py",
    "benchmark/inference/export/__init__.py",
    "benchmark/inference/export/environment.py",
    "benchmark/inference/export/formats.py",
    "benchmark/inference/export/runtime.py",
    "benchmark/measuring/__init__.py",
    "benchmark/measuring/machine.py",
    "benchmark/measuring/rounds.py",
)
_START = "from benchmark.cli import run\nfrom benchmark.inference.deploy.portable import main\n\nrun(main)\n"


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE", help="exported files, of one model")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where the times go (default: standard output)")
    parser.add_argument(
        "--sample", type=Path, metavar="FILE.npz", help=f"inputs by name (default: {SAMPLE} beside the first file)"
    )
    parser.add_argument("--rounds", type=whole_number(1), default=50, metavar="N", help="timed rounds")
    parser.add_argument("--threads", type=whole_number(1, 4096), metavar="N", help="besides 1 (default: all cores)")
    parser.add_argument("--busy-ok", action="store_true", help="time on a busy machine too; the file then says so")
    parser.add_argument("--worker", nargs=4, metavar=("FORMAT", "FILE", "THREADS", "SAMPLE"), help="be a timed process")
    return parser


def main() -> None:
    """Read the arguments, time, and write what came out."""
    args = make_parser().parse_args()
    if args.worker:
        name, path, threads, sample = args.worker
        serve(name, Path(path), int(threads) or None, Path(sample))
        return
    files = args.files or _beside()
    names = [_name_of(path) for path in files]
    busy = busy_share()
    if busy > _BUSY and not args.busy_ok:
        raise UserError(f"Other processes take {busy:.0%} of this machine: wait, or give --busy-ok.")
    sample = args.sample or files[0].parent / SAMPLE
    if not sample.is_file():
        raise UserError(f"{sample} is not there: it holds the inputs of a picture; give another one with --sample.")
    cores = args.threads or available_cores()
    timed = []
    for threads in (1, cores):
        subjects = [Subject(name, path, threads) for name, path in zip(names, files, strict=True)]
        timed.append(time_subjects(subjects, sample, _program(), args.rounds))
    table = _table(files, names, timed, busy, args.rounds, cores)
    text = json.dumps(table, indent=2) + "\n"
    if args.out:
        args.out.write_text(text)
    else:
        print(text, end="")
    for row in table["rows"]:
        ms = row.get("ms")
        print(f"{row['file']}: {f'{ms:.1f} ms, 1 thread' if ms else row['note']}", file=sys.stderr)


def write_bundle(path: Path) -> None:
    """Write this program with all that it needs but NumPy and the runtimes into one file, which Python runs."""
    root = Path(__file__).parents[3]
    formats = [f"benchmark/inference/export/{row.module}.py" for row in FORMATS.values()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in (*_MODULES, *sorted(set(formats))):
            bundle.writestr(zipfile.ZipInfo(name), (root / name).read_bytes())
        bundle.writestr(zipfile.ZipInfo("__main__.py"), _START)


def _beside() -> list[Path]:
    """Return the exported files beside this program's own file."""
    folder = Path(sys.argv[0]).resolve().parent
    found = sorted(path for path in folder.iterdir() if format_of(path))
    if not found:
        endings = ", ".join(row.ending for row in FORMATS.values())
        raise UserError(f"No exported files in {folder}: expected names ending in {endings}.")
    return found


def _name_of(path: Path) -> str:
    row = format_of(path)
    if row is None or not path.exists():
        endings = ", ".join(row.ending for row in FORMATS.values())
        raise UserError(f"{path} is no exported file: expected one that is there, ending in {endings}.")
    return next(name for name, each in FORMATS.items() if each is row)


def _program() -> list[str]:
    """Return the command that this program is started with."""
    if zipfile.is_zipfile(sys.argv[0]):
        return [sys.executable, sys.argv[0], "--worker"]
    return [sys.executable, "-m", "benchmark.inference.deploy.portable", "--worker"]


def _table(
    files: list[Path], names: list[str], timed: list[list[Timed | str]], busy: float, rounds: int, cores: int
) -> dict[str, Any]:
    """Return what deploy.json holds: figures of the deploy.json beside the files, times of this machine."""
    known = _known(files[0].parent / TABLE)
    by_file = {row.get("file"): row for row in known.get("rows", ()) if row.get("file")}
    rows = []
    for path, name, one, every in zip(files, names, *timed, strict=True):
        row = {**by_file.get(path.name, {"format": name, "precision": "unknown", "figure": _figure(name, path)})}
        row |= {"file": path.name, "mb": _size(name, path) / 1e6}
        row |= dict.fromkeys(("ms", "ms_interval", "cpu_ms", "peak_mb", "all_ms", "all_ms_interval", "all_cpu_ms"))
        if isinstance(one, Timed):
            row |= {"ms": one.median, "ms_interval": one.quartiles, "cpu_ms": one.cpu_median, "peak_mb": one.peak / 1e6}
        else:
            row["note"] = f"not timed: {one}"
        if isinstance(every, Timed):
            row |= {"all_ms": every.median, "all_ms_interval": every.quartiles, "all_cpu_ms": every.cpu_median}
        rows.append(row)
    every_time = [each for part in timed for each in part if isinstance(each, Timed)]
    return {
        "backbone": known.get("backbone", "unknown"),
        "config": known.get("config"),
        "run": known.get("run"),
        "device": "CPU",
        "threads": 1,
        "machine": f"{processor()}, {cores} threads",
        "system": platform.platform(),
        "busy": round(busy, 3),
        "load": round(os.getloadavg()[0], 2),
        "rounds": rounds,
        "stable": all(each.stable for each in every_time),
        "pictures": known.get("pictures", 0),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "rows": rows,
    }


def _known(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _figure(name: str, path: Path) -> str:
    """Return the figure that a model of a file's kind is ranked by; where the file says no kind, a classifier's."""
    try:
        kind = FORMATS[name].load_module().facts(path).get("kind", "")
    except Exception:  # a runtime that is absent: the row's note says so
        kind = ""
    return _FIGURES.get(kind, "top1")


def _size(name: str, path: Path) -> int:
    parts = [part for each in FORMATS[name].files(path) for part in ([each] if each.is_file() else each.rglob("*"))]
    return sum(part.stat().st_size for part in parts if part.is_file())


if __name__ == "__main__":
    run(main)
