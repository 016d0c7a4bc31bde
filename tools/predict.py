"""Draw a detector's boxes or masks on pictures and videos of your own, and write down what was found."""

import sys
from pathlib import Path

from benchmark.cli import (
    CHECKPOINT_HELP,
    Parser,
    add_batch_size,
    add_config_changes,
    add_data_root,
    add_precision,
    announce,
    number,
    pop_options,
    run,
    whole_number,
)
from benchmark.inference.sources import place


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a file of configs/")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    parser.add_argument(
        "source",
        nargs="+",
        type=place,
        metavar="SOURCE",
        help="pictures, videos, folders and all below them, patterns such as 'a/**/*.jpg', a camera's number, or a "
        "stream's address (rtsp://...)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or an empty folder")
    parser.add_argument(
        "--score-threshold",
        type=number(0, 1),
        default=0.3,
        metavar="S",
        help="lowest score drawn, in 0..1",
    )
    parser.add_argument(
        "--format",
        dest="style",
        choices=("coco", "jsonl"),
        default="coco",
        help="COCO's results format, or a line of JSON per picture or frame",
    )
    parser.add_argument(
        "--frames", type=whole_number(1), metavar="N", help="of each video, camera or stream (default: all)"
    )
    add_batch_size(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add_precision(parser)
    add_config_changes(parser)
    add_data_root(parser)
    return parser


def main() -> None:
    """Read the arguments, predict, and name what could not be read."""
    args = vars(make_parser().parse_args())
    announce("Predicting", aside=False)

    from benchmark.inference.predict import predict

    found = predict(pop_options(args), **args)
    of = [f"{found.pictures} pictures"] if found.pictures or not found.frames else []
    of += [f"{found.frames} frames"] if found.frames else []
    print(f"{found.detections} detections in {' and '.join(of)} are in {args['out']} ({found.per_second:.1f} a second)")
    if found.not_finite:
        print(f"left out {found.not_finite} detections whose score or box is not finite", file=sys.stderr)
    for name, reason in found.unreadable.items():
        print(f"skipped {name}: {reason}", file=sys.stderr)
    for name, reason in found.broken.items():
        print(f"error: {name} {reason}. What was found until then is kept.", file=sys.stderr)
    sys.exit(1 if found.unreadable or found.not_finite or found.broken else 0)


if __name__ == "__main__":
    run(main)
