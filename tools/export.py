"""Export a detector or classifier; its runtime must find what PyTorch finds on real pictures, or no file is written."""

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
from benchmark.inference.export.formats import FORMATS, find_format
from benchmark.inference.export.layouts import LAYOUTS


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a file of configs/")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    endings = ", ".join(row.ending for row in FORMATS.values())
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"its ending says the format: {endings}",
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="IMAGE_OR_FOLDER", help="check on these (default: 8 of the validation split)"
    )
    parser.add_argument(
        "--opset", type=whole_number(18, 99), metavar="N", help="version of ONNX's operators (default: 18, the lowest)"
    )
    parser.add_argument("--nms", action="store_true", default=None, help="end SSDLite in ONNX's NonMaxSuppression")
    parser.add_argument(
        "--canvas",
        type=whole_number(1, 65_536),
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="input of a two-stage detector (default: its config's pictures in landscape)",
    )
    parser.add_argument(
        "--batch",
        type=whole_number(1, 1024),
        default=1,
        metavar="N",
        help="pictures that the file takes at once; for SSDLite and classifiers",
    )
    parser.add_argument(
        "--with-preprocessing",
        action="store_true",
        help="let the file take uint8 pictures of any size, as they are decoded; ONNX, for SSDLite and classifiers",
    )
    parser.add_argument(
        "--tolerance",
        type=number(0, 1e6),
        metavar="T",
        help="allowed for boxes in pixels and for all else (default: 0.02 or, in two stages, 0.05 px, and 0.001; more "
        "with preprocessing)",
    )
    parser.add_argument(
        "--layout",
        choices=tuple(LAYOUTS),
        help="make the folder that a model server reads, called as --out without its ending: Triton's or OpenVINO's",
    )
    add_config_changes(parser)
    add_data_root(parser)
    return parser


def main() -> None:
    """Read the arguments, export, and print what came out."""
    args = vars(make_parser().parse_args())
    announce(f"Exporting {args['checkpoint']}", aside=False)

    chosen = {name: value for name in ("opset", "nms") if (value := args.pop(name)) is not None}
    of_some = {"batch": args["batch"] > 1, "with_preprocessing": args["with_preprocessing"]}
    given = chosen.keys() | {name for name, is_given in of_some.items() if is_given}
    find_format(args["out"], given)  # before PyTorch is imported

    from benchmark.inference.export.checked import export

    canvas = args.pop("canvas")
    found = export(pop_options(args), **args, canvas=canvas and tuple(canvas), **chosen)
    server = f" for {LAYOUTS[args['layout']].server}" if args["layout"] else ""
    told = f"{args['out']}{server}: {found.kind}, {found.size / 1e6:.1f} MB; "
    if found.unchecked:
        print(f"{told}not checked, for {found.unchecked}.")
        return
    print(
        f"{told}{found.runtime} and PyTorch differ by at most {found.differences} on {found.pictures} pictures "
        f"({found.allowed} allowed)."
    )


if __name__ == "__main__":
    run(main)
