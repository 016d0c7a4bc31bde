"""Check that a data set lies as it should: files, number of images, classes, labels."""

import argparse
from pathlib import Path

from benchmark.cli import run


def main() -> None:
    """Read the arguments, check, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", metavar="NAME|CONFIG", help="coco, food101, cars, aircraft, flowers102, imagefolder")
    parser.add_argument("--data-root", type=Path, help="folder of the data (default: DATA_ROOT, then the config's)")
    parser.add_argument("--allow-partial", action="store_true", help="accept fewer images than the official ones")
    args = parser.parse_args()

    from benchmark.config import DATA_CONFIGS, load_config, load_data_config
    from benchmark.preflight import check_data

    load = load_data_config if args.data in DATA_CONFIGS else load_config
    cfg = load(
        args.data if args.data in DATA_CONFIGS else Path(args.data),
        data_root=args.data_root,
        allow_partial=args.allow_partial,
    )
    for found in check_data(cfg):
        print(f"{cfg.dataset_name} {found.split}: {found.images} images, {len(found.classes)} classes")


if __name__ == "__main__":
    run(main)
