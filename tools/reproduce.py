"""Compare every cell of a table of the paper with ours: what agrees, what is missing, and what command measures it.

Exit status 1 if a measured cell is outside its tolerance; a missing cell is no failure.
"""

import json
import sys
from pathlib import Path

from benchmark.cli import Parser, add_data_root, announce, run, whole_number
from benchmark.reporting.paper.tables import TABLES, table_number


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("table", choices=[f"table{number}" for number in TABLES])
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
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main() -> None:
    """Read the arguments, measure if asked to, and print."""
    args = make_parser().parse_args()
    announce(f"Comparing {args.table} with ours")

    from benchmark.reporting.reproduce import read_state, render, run_table, state_json

    number, problems = table_number(args.table), []
    if args.run:
        problems = run_table(
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
    state = read_state(number, args.folders, args.data_root)
    print(json.dumps(state_json(state), indent=2) if args.json else render(state))
    for problem in problems:
        print(f"not trained: {problem}", file=sys.stderr)
    for problem in state.problems:
        print(f"skipped: {problem}", file=sys.stderr)
    sys.exit(1 if state.outside else 0)


if __name__ == "__main__":
    run(main)
