"""Compare every cell of a table of the paper with ours: what agrees, what is missing, and what command measures it.

``experiments`` in place of a table lists the claims that the experiments below the folders have judged. Exit status 1
if a measured cell disagrees; a missing cell is no failure.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from benchmark.cli import Parser, add_data_root, announce, run, whole_number
from benchmark.reporting.paper.tables import TABLES, table_number

EXPERIMENTS = "experiments"
LOG = Path(__file__).parents[1] / "docs" / "reproductions.md"


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("table", choices=[*(f"table{number}" for number in TABLES), EXPERIMENTS])
    parser.add_argument(
        "folders", type=Path, nargs="*", default=[Path("work_dirs")], metavar="DIR", help="where runs and times lie"
    )
    parser.add_argument(
        "--run",
        action="store_true",
        help="measure what is missing and this machine can, into DIR/reproduce; a second call resumes where it stopped",
    )
    add_data_root(parser)
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        metavar="N",
        help="training images per process (default: the recipe's over processes)",
    )
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of training")
    parser.add_argument(
        "--threads", type=whole_number(1, 4096), metavar="N", help="of the CPU in timing (default: PyTorch's choice)"
    )
    parser.add_argument(
        "--log",
        type=Path,
        nargs="?",
        const=LOG,
        metavar="FILE.md",
        help="append a line to the record of reproductions: date, commit, machine, verdicts (default: "
        "docs/reproductions.md, which says how to send it in)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main() -> None:
    """Read the arguments, measure if asked to, and print."""
    parser = make_parser()
    args = parser.parse_args()
    if args.table == EXPERIMENTS and (args.run or args.data_root or args.batch_size or args.threads):
        parser.error("experiments are run by tools/experiment.py: --run and its options belong to a table")
    announce(f"Comparing {args.table} with ours")

    from benchmark.records.verdicts import Verdict
    from benchmark.reporting import reproduce

    if args.log:
        reproduce.check_log(args.log)
    if args.table == EXPERIMENTS:
        found, problems = reproduce.read_experiments(args.folders)
        print(
            json.dumps(reproduce.experiments_json(found), indent=2)
            if args.json
            else reproduce.render_experiments(found)
        )
        _end(args.log, map(reproduce.artefact_line, found.values()), problems, status=0)
    number, untrained = table_number(args.table), []
    if args.run:
        untrained = reproduce.run_table(
            number,
            args.folders,
            data_root=args.data_root,
            batch_size=args.batch_size,
            precision=args.precision,
            threads=args.threads,
        )
    from benchmark.training.processes import is_main

    if not is_main():
        return
    state = reproduce.read_state(number, args.folders, args.data_root)
    print(json.dumps(reproduce.state_json(state), indent=2) if args.json else reproduce.render(state))
    for problem in untrained:
        print(f"not trained: {problem}", file=sys.stderr)
    disagree = state.count(Verdict.DISAGREES)
    _end(args.log, [reproduce.table_line(state)], state.problems, status=1 if disagree else 0)


def _end(log: Path | None, lines: Iterable[str], problems: Sequence[str], *, status: int) -> NoReturn:
    """Append to the log if asked to, name what was skipped, and leave."""
    from benchmark.reporting.reproduce import append_lines

    if log:
        append_lines(log, lines)
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    run(main)
