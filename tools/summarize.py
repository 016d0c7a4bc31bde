"""Print the leaderboards of all result.json files below the folders, best first."""

import sys
from pathlib import Path

from benchmark.cli import Parser, announce, run


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("folders", type=Path, nargs="*", default=[Path("work_dirs")], metavar="DIR")
    parser.add_argument("--format", choices=("markdown", "csv", "json", "latex", "html"), default="markdown")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write here instead; in Markdown only between the markers leaderboard:begin and leaderboard:end",
    )
    parser.add_argument("--metric", metavar="NAME", help="figure that ranks, box_AP50 say (default: each task's own)")
    parser.add_argument("--sort", metavar="COLUMN", help="macs or latency, say, best first (default: what ranks)")
    parser.add_argument("--paper", action="store_true", help="show the paper's figures and the differences")
    return parser


def main() -> None:
    """Read the arguments and print or write the leaderboards."""
    args = make_parser().parse_args()
    announce(f"Reading results below {', '.join(map(str, args.folders))}")

    from benchmark.reporting.leaderboard import find_runs, make_report, render, write

    report = make_report(find_runs(args.folders), metric=args.metric, sort=args.sort, paper=args.paper)
    if args.out and (report.boards or not report.problems):
        write(report, args.format, args.out)
    elif not args.out:
        print(render(report, args.format), end="")
    for problem in report.problems:
        print(f"skipped: {problem}", file=sys.stderr)
    sys.exit(1 if report.problems else 0)


if __name__ == "__main__":
    run(main)
