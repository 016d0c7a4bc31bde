"""Export SSDLite to ONNX; onnxruntime must give PyTorch's boxes and scores on real pictures, or no file is written."""

import argparse
from pathlib import Path

from benchmark.cli import run


def main() -> None:
    """Read the arguments, export, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="an ssdlite config of configs/")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .pth file of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx")
    parser.add_argument(
        "--pictures", type=Path, metavar="IMAGE_OR_FOLDER", help="check on these (default: 8 of the validation split)"
    )
    parser.add_argument(
        "--opset", type=int, default=18, metavar="N", help="version of ONNX's operators (default: 18, the lowest)"
    )
    parser.add_argument("--nms", action="store_true", help="end in ONNX's NonMaxSuppression")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-3,
        metavar="T",
        help="allowed for boxes in pixels and for scores (default: 0.001)",
    )
    parser.add_argument("--demo", action="store_true", help="the checkpoint was trained with --demo")
    parser.add_argument("--data-root", type=Path, help="folder of the data (default: DATA_ROOT, then the config's)")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="change the config")
    args = vars(parser.parse_args())

    from benchmark.cli import Options
    from benchmark.inference.export.onnx import export

    options = Options(**{name: args.pop(name) for name in ("config", "cfg_options", "data_root", "demo")})
    found = export(options, with_nms=args.pop("nms"), **args)
    print(
        f"{args['out']}: opset {found.opset}, {found.size / 1e6:.1f} MB; onnxruntime and PyTorch differ by at most "
        f"{found.differences} on {found.pictures} pictures ({args['tolerance']:g} allowed)."
    )


if __name__ == "__main__":
    run(main)
