"""Draw a detector's boxes or masks on pictures and videos of your own, and write down what was found."""

import sys
from pathlib import Path
from typing import Any

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
from benchmark.inference.export.formats import format_of
from benchmark.inference.sources import place

# What an exported file says of itself, or cannot be told.
_OF_A_CONFIG = (
    "backbone", "batch_size", "cfg_options", "data_root", "dataset", "demo", "device", "precision", "slow_ok",
)  # fmt: skip


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument(
        "config",
        type=Path,
        metavar="CONFIG",
        help="a file of configs/; a file of tools/export.py takes the place of CONFIG and CHECKPOINT",
    )
    parser.add_argument("checkpoint", type=place, metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    parser.add_argument(
        "source",
        nargs="*",
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
    parser = make_parser()
    args = vars(parser.parse_args())
    file = args["config"] if format_of(args["config"]) else None
    if file:
        args["source"].insert(0, args.pop("checkpoint"))
        _check_no_config(parser, args, file)
    elif format_of(Path(args["checkpoint"])):
        parser.error(f"{args['checkpoint']} is an exported file, which takes the place of CONFIG too: leave that out")
    if not args["source"]:
        parser.error("the following arguments are required: SOURCE")
    announce("Predicting", aside=False)

    from benchmark.inference.predict import predict, predict_exported

    options = pop_options(args)
    if file:
        found = predict_exported(file, **args)
    else:
        checkpoint = Path(args.pop("checkpoint"))
        found = predict(options, checkpoint, **args)
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


def _check_no_config(parser: Parser, args: dict[str, Any], file: Path) -> None:
    """Refuse the options of a config and a checkpoint, and take them out of the arguments."""
    for name in _OF_A_CONFIG:
        if args[name] != parser.get_default(name):
            parser.error(f"--{name.replace('_', '-')} is of a CONFIG and its CHECKPOINT, not of {file}: leave it out")
    args.pop("device")


if __name__ == "__main__":
    run(main)
