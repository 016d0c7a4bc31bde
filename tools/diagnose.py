"""Why a detector fails: AP by class and object size, kinds of errors and their cost, confusions, the worst pictures.

Of runs that were evaluated; prints tables, and with --out writes them as JSON and one page with charts and pictures.
"""

from pathlib import Path

from benchmark.cli import Parser, announce, number, run, whole_number

_WORST = 8


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="RUN", help="a run's folder, or its result.json")
    annotations = parser.add_mutually_exclusive_group()
    annotations.add_argument("--annotations", type=Path, metavar="FILE", help="default: what a run's config.py names")
    annotations.add_argument("--dataset", type=Path, metavar="DIR", help="folder of your own data that it was run on")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for diagnosis.json and diagnosis.html")
    parser.add_argument(
        "--score-threshold",
        type=number(0, 1),
        default=0.3,
        metavar="S",
        help="lowest score of what is confused and drawn; AP and errors take all",
    )
    parser.add_argument(
        "--worst", type=whole_number(0, 1000), metavar="N", help=f"pictures on the page (default: {_WORST})"
    )
    return parser


def main() -> None:
    """Read the arguments, diagnose, print and write."""
    args = make_parser().parse_args()
    announce(f"Diagnosing {args.folders[0]}")

    from backbones.errors import UserError
    from benchmark.data.own.convert import prepare
    from benchmark.evaluation.diagnosis import diagnose_run
    from benchmark.reporting.diagnosis.text import describe
    from benchmark.reporting.diagnosis.write import check_out, write

    if args.worst is not None and not args.out:
        raise UserError("--worst is for the page: give --out DIR, or leave it out.")
    if args.out:
        check_out(args.out)
    annotations = prepare(args.dataset).annotations("val") if args.dataset else args.annotations
    worst = _WORST if args.worst is None else args.worst
    found = [
        diagnosis
        for folder in args.folders
        for diagnosis in diagnose_run(folder, annotations=annotations, score=args.score_threshold, worst=worst)
    ]
    print(describe(found))
    if args.out:
        print(f"\nThe page with charts and pictures: {write(found, args.out)}")


if __name__ == "__main__":
    run(main)
