"""What the command lines share: the common options, and how a user's mistake ends."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmark.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Run a tool; a user's mistake becomes one plain message and exit status 1."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        # Data-loading processes and process groups must not keep a failed tool alive.
        os._exit(1)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        os._exit(130)


def config_parser(description: str, *, checkpoint: bool) -> argparse.ArgumentParser:
    """Return a parser with the options of every tool that runs a config."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a file of configs/")
    if checkpoint:
        parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .pth file of a run")
    parser.add_argument("--work-dir", type=Path, help="folder of the run")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="change the config")
    parser.add_argument("--data-root", type=Path, help="folder of the data (default: DATA_ROOT, then the config's)")
    parser.add_argument("--demo", action="store_true", help="generated data and a short schedule over any config")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--launcher", choices=("auto", "none", "pytorch", "slurm"), default="auto")
    parser.add_argument("--local-rank", type=int, help=argparse.SUPPRESS)
    return parser
