"""Compare two runs on the same images: the difference in AP, its 95% interval, and whether one is better."""

from pathlib import Path

from benchmark.cli import Parser, announce, resamples, run, whole_number


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("a", type=Path, metavar="RESULT_A", help="a run's folder, or its result.json")
    parser.add_argument("b", type=Path, metavar="RESULT_B", help="likewise")
    annotations = parser.add_mutually_exclusive_group()
    annotations.add_argument("--annotations", type=Path, metavar="FILE", help="default: what A's config.py names")
    annotations.add_argument(
        "--dataset", type=Path, metavar="DIR", help="folder of your own data that both were run on"
    )
    parser.add_argument("--resamples", type=resamples, default=1000, metavar="N", help="draws of the images")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the draws")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main() -> None:
    """Read the arguments, compare and print."""
    args = vars(make_parser().parse_args())
    announce(f"Comparing {args['a']} and {args['b']}")

    import dataclasses
    import json

    from tabulate import tabulate

    from benchmark.data.own.convert import prepare
    from benchmark.evaluation.compare import NOTE, compare_runs, comparison_rows, training_notes

    as_json, own = args.pop("json"), args.pop("dataset")
    if own:
        args["annotations"] = prepare(own).annotations("val")
    notes = training_notes(args["a"], args["b"])
    differences = compare_runs(args.pop("a"), args.pop("b"), **args)
    if as_json:
        records: dict[str, object] = {
            name: difference and {**dataclasses.asdict(difference), "decision": difference.decision}
            for name, difference in differences.items()
        }
        print(json.dumps({**records, **({"notes": notes} if notes else {})}, indent=2))
    else:
        table = tabulate(comparison_rows(differences), headers="keys", tablefmt="github", disable_numparse=True)
        print("\n\n".join([table, *notes, NOTE]))


if __name__ == "__main__":
    run(main)
