"""Generate the demo data set: pictures of shapes in COCO's format, for detection and instance segmentation."""

from pathlib import Path

from benchmark.cli import Parser, announce, run, whole_number


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("root", metavar="ROOT", nargs="?", type=Path, default=Path("data/demo"), help="folder to make")
    parser.add_argument("--train-images", type=whole_number(1), default=400, help="number of pictures in train2017")
    parser.add_argument("--val-images", type=whole_number(1), default=100, help="number of pictures in val2017")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="the same seed gives the same pictures")
    return parser


def main() -> None:
    """Read the arguments, make the data set, and print one line about it."""
    args = make_parser().parse_args()
    announce(f"Making pictures in {args.root}")

    from benchmark.data.demo.pictures import (  # after the arguments, so that --help answers at once
        CLASSES,
        make_demo_data,
    )

    root = make_demo_data(args.root, train_images=args.train_images, val_images=args.val_images, seed=args.seed)
    print(f"{args.train_images} train and {args.val_images} val pictures of {', '.join(CLASSES)} are in {root}")


if __name__ == "__main__":
    run(main)
