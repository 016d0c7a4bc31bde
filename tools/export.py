"""Export SSDLite; the file's runtime must give PyTorch's boxes and scores on real pictures, or no file is written."""

from pathlib import Path

from benchmark.cli import (
    CHECKPOINT_HELP,
    Parser,
    add_config_changes,
    add_data_root,
    announce,
    number,
    pop_options,
    run,
    whole_number,
)
from benchmark.inference.export.formats import FORMATS, find_export


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="an ssdlite config of configs/")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=f"its ending says the format: {', '.join(FORMATS)}"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="IMAGE_OR_FOLDER", help="check on these (default: 8 of the validation split)"
    )
    parser.add_argument(
        "--opset", type=whole_number(18, 99), metavar="N", help="version of ONNX's operators (default: 18, the lowest)"
    )
    parser.add_argument("--nms", action="store_true", default=None, help="end in ONNX's NonMaxSuppression")
    parser.add_argument(
        "--tolerance",
        type=number(0, 1e6),
        default=1e-3,
        metavar="T",
        help="allowed for boxes in pixels and for scores",
    )
    add_config_changes(parser)
    add_data_root(parser)
    return parser


def main() -> None:
    """Read the arguments, export, and print what came out."""
    args = vars(make_parser().parse_args())
    announce(f"Exporting {args['checkpoint']}", aside=False)

    chosen = {name: value for name in ("opset", "nms") if (value := args.pop(name)) is not None}
    export = find_export(args["out"], chosen.keys())
    found = export(pop_options(args), **args, **chosen)
    print(
        f"{args['out']}: {found.kind}, {found.size / 1e6:.1f} MB; {found.runtime} and PyTorch differ by at most "
        f"{found.differences} on {found.pictures} pictures ({args['tolerance']:g} allowed)."
    )


if __name__ == "__main__":
    run(main)
