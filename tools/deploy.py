"""Make a checkpoint's files for other runtimes; check, evaluate and time them; set them side by side in one table."""

from pathlib import Path

from benchmark.cli import (
    CHECKPOINT_HELP,
    Parser,
    add_config_changes,
    add_data_root,
    announce,
    names,
    number,
    pop_options,
    run,
    whole_number,
)
from benchmark.inference.export.formats import FORMATS


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(f"{__doc__} Killed and called again it resumes.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a file of configs/")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    parser.add_argument(
        "--formats",
        type=names,
        default=["all"],
        metavar="NAMES",
        help=f"pytorch, pytorch_compiled, {', '.join(FORMATS)}, with commas (default: all that this machine can run)",
    )
    parser.add_argument("--int8", action="store_true", help="INT8 files too, calibrated on training pictures")
    parser.add_argument(
        "--max-drop",
        type=number(1e-9, 100),
        metavar="D",
        help="with --int8: a file whose AP or top-1 is lower by D percent is not kept (default: 0.5)",
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="FOLDER", help="with --int8: pictures (default: the training pictures)"
    )
    parser.add_argument(
        "--calibrate", type=whole_number(1, 65_536), metavar="N", help="with --int8: on N pictures (default: 128)"
    )
    parser.add_argument(
        "--canvas",
        type=whole_number(1, 65_536),
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="input of a two-stage detector (default: its config's pictures in landscape)",
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="IMAGE_OR_FOLDER", help="check on these (default: 8 of the validation split)"
    )
    parser.add_argument("--rounds", type=whole_number(1), default=50, metavar="N", help="timed rounds")
    parser.add_argument("--busy-ok", action="store_true", help="time on a busy machine too; the table then says so")
    parser.add_argument("--work-dir", type=Path, help="folder of the files (default: one below work_dirs/deploy)")
    add_config_changes(parser)
    add_data_root(parser)
    return parser


def main() -> None:
    """Read the arguments, make, measure, and print the table."""
    parser = make_parser()
    args = vars(parser.parse_args())
    for option in ("max_drop", "calibration", "calibrate"):
        if args[option] is not None and not args["int8"]:
            parser.error(f"--{option.replace('_', '-')} belongs to --int8")
    announce(f"Deploying {args['checkpoint']}")

    from benchmark.inference.deploy.run import Settings, deploy
    from benchmark.reporting.deployed import write_reports

    canvas, folder, checkpoint = args.pop("canvas"), args.pop("work_dir"), args.pop("checkpoint")
    options = pop_options(args)
    given = {name: value for name, value in args.items() if value is not None}
    table, folder = deploy(options, checkpoint, folder, Settings(canvas=canvas and tuple(canvas), **given))
    print(write_reports(table, folder))


if __name__ == "__main__":
    run(main)
