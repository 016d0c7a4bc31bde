"""Say which backbone to take: one sentence with its interval, the costs here, and what would change the answer.

Reads the runs below the folders and measured times among them (latency*.json), and writes decision.html, .txt, .md,
.json, .svg and .png.
"""

import sys
from pathlib import Path

from benchmark.cli import Parser, announce, number, parameters, resamples, run, whole_number


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="RUN_OR_FOLDER", help="a run, or a folder of runs")
    parser.add_argument(
        "--latency",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="JSON",
        help="what tools/latency.py --json printed (default: latency*.json below the folders)",
    )
    parser.add_argument(
        "--deploy", type=Path, nargs="+", action="extend", default=[], metavar="DEPLOY_JSON", help="other formats"
    )
    parser.add_argument("--max-ms", type=number(1e-6, 1e9), metavar="MS", help="longest time of an image")
    parser.add_argument("--min-ap", type=number(0, 100), metavar="AP", help="lowest AP, or top-1, in percent")
    parser.add_argument("--max-params", type=parameters, metavar="5M", help="most parameters")
    parser.add_argument(
        "--margin",
        type=number(0, 100),
        default=1.0,
        metavar="AP",
        help="what you would give of it for speed, in points",
    )
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="default: what the first run's config.py names"
    )
    parser.add_argument("--resamples", type=resamples, default=400, metavar="N", help="draws of the pictures")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the draws")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to (default: the first folder)")
    return parser


def main() -> None:
    """Read the arguments, decide, write and print."""
    args = make_parser().parse_args()
    announce(f"Reading results below {', '.join(map(str, args.folders))}")

    from benchmark.reporting.decision import Constraints, check_out, decide, plain_text, write

    out = args.out or args.folders[0]
    check_out(out, args.folders)
    decision = decide(
        args.folders,
        Constraints(args.max_ms, args.min_ap, args.max_params, args.margin),
        latencies=args.latency,
        deploys=args.deploy,
        annotations=args.annotations,
        resamples=args.resamples,
        seed=args.seed,
    )
    page = write(decision, out)
    print(plain_text(decision), end="")
    print(f"\n{page}")
    for problem in decision.problems:
        print(f"skipped: {problem}", file=sys.stderr)
    sys.exit(1 if decision.problems else 0)


if __name__ == "__main__":
    run(main)
