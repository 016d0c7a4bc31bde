"""List the backbones: params, multiply-adds, the papers' figures, weights and their licence, maps for detectors."""

import json

from benchmark.cli import Parser, announce, number, run
from benchmark.records.models import model_notes, model_table, models_json, read_models, select_models


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--family", metavar="F", help="a file of backbones/families, such as shufflenet")
    parser.add_argument("--max-params", type=number(0, 1e6), metavar="M", help="in millions, classifier included")
    parser.add_argument("--detector", action="store_true", help="only those that can feed a detector")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main() -> None:
    """Read the arguments, filter and print."""
    args = make_parser().parse_args()
    announce("Reading the list of backbones")
    models = select_models(read_models(), family=args.family, max_params=args.max_params, detector=args.detector)
    if args.json:
        print(json.dumps(models_json(models), indent=2))
        return

    from tabulate import tabulate

    print(tabulate(model_table(models), "keys", "github", disable_numparse=True))
    print("\nAs ImageNet's classifier at the input (H x W). timm:<model> reaches timm's others.")
    for note in model_notes(models):
        print(f"- {note}")


if __name__ == "__main__":
    run(main)
