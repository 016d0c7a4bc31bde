"""Draw a detector's boxes or masks on pictures of your own, and write them in COCO's results format."""

import sys
from pathlib import Path

from benchmark.cli import (
    Parser,
    add_batch_size,
    add_config_changes,
    add_data_root,
    add_precision,
    announce,
    number,
    pop_options,
    run,
)


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a file of configs/")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .pth file of a run")
    parser.add_argument("source", type=Path, metavar="IMAGE_OR_FOLDER", help="a picture, or a folder and all below it")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or an empty folder")
    parser.add_argument(
        "--score-threshold",
        type=number(0, 1),
        default=0.3,
        metavar="S",
        help="lowest score drawn, in 0..1",
    )
    add_batch_size(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add_precision(parser)
    add_config_changes(parser)
    add_data_root(parser)
    return parser


def main() -> None:
    """Read the arguments, predict, and name the pictures that could not be read."""
    args = vars(make_parser().parse_args())
    announce(f"Predicting on {args['source']}", aside=False)

    from benchmark.inference.predict import predict

    found = predict(pop_options(args), **args)
    print(f"{found.detections} detections in {found.pictures} pictures are in {args['out']}")
    if found.not_finite:
        print(f"left out {found.not_finite} detections whose score or box is not finite", file=sys.stderr)
    for path, reason in found.unreadable.items():
        print(f"skipped {path}: {reason}", file=sys.stderr)
    sys.exit(1 if found.unreadable or found.not_finite else 0)


if __name__ == "__main__":
    run(main)
