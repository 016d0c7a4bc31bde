"""Evaluate a checkpoint or pretrained weights on ImageNet's validation pictures: top-1 and top-5 with 95% intervals.

Each backbone is evaluated at its own input, with the crop and the interpolation of its weights' record.
"""

from dataclasses import replace
from pathlib import Path

from backbones.errors import UserError
from benchmark.cli import CHECKPOINT_HELP, Parser, add_classifier_reports, announce, config_parser, pop_options, run

RESAMPLES = 1_000


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = config_parser(__doc__, checkpoint=False)
    parser.add_argument("checkpoint", nargs="?", type=Path, metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    parser.add_argument(
        "--pretrained", metavar="imagenet|FILE", help="the backbone's weights with their classifier, not a run's"
    )
    parser.add_argument("--real", type=Path, metavar="real.json", help="count against the reassessed labels (ReaL) too")
    add_classifier_reports(parser, resamples=RESAMPLES)
    return parser


def main() -> None:
    """Read the arguments and evaluate."""
    args = vars(make_parser().parse_args())
    if (args["checkpoint"] is None) == (args["pretrained"] is None):
        raise UserError("Give a CHECKPOINT of a run or --pretrained imagenet|FILE: one of them.")
    announce(f"Evaluating {args['checkpoint'] or args['pretrained']}")

    from benchmark.training.evaluate import evaluate, format_classifier
    from benchmark.training.processes import is_main

    options = pop_options(args)
    if args["real"]:
        chosen = f"val_dataloader.dataset.real={str(args['real'])!r}"
        options = replace(options, cfg_options=(*options.cfg_options, chosen))
    result = evaluate(
        options,
        args["checkpoint"],
        pretrained=args["pretrained"],
        tool=Path(__file__).name,
        out=args["confusion"],
        per_class=args["per_class"] or args["worst"] > 0,
        bootstrap=args["bootstrap"],
    )
    if is_main():
        print(format_classifier(result, per_class=args["per_class"], worst=args["worst"]))


if __name__ == "__main__":
    run(main)
