"""What the command lines share: the common options, and how a user's mistake ends."""

import argparse
import contextlib
import dataclasses
import errno
import io
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from backbones.errors import UserError, describe

CHECKPOINT_HELP = "a .pth or .safetensors file, a published folder, or hf:ORG/NAME"
MOST = 2**31 - 1  # of any whole number: what 32 bits hold
_IMPORTING = "<frozen importlib._bootstrap>"  # the file of Python's own frames in an import
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN = 80  # letters of a text that may be long
_NO_MEMORY = re.compile("out of memory|can't allocate memory")  # as PyTorch says it
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What torchrun and Slurm say of a run's processes, and the largest number that it can be.
_NUMBERS = {
    **dict.fromkeys(("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"), 999_999),
    **dict.fromkeys(("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "TORCHELASTIC_RESTART_COUNT"), 999_999),
    "MASTER_PORT": 65_535,
}
_QUIET = 1.0  # s
_announced: list[threading.Timer] = []  # what is not said yet


@dataclass(frozen=True)
class Options:
    """What the command lines of all tools say about a run; see ``config_parser``."""

    config: Path
    work_dir: Path | None = None
    cfg_options: Sequence[str] = ()
    data_root: Path | None = None
    demo: bool = False
    precision: str = "fp32"
    slow_ok: bool = False
    launcher: str = "auto"
    batch_size: int | None = None
    allow_partial: bool = False
    backbone: str | None = None
    dataset: str | None = None


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help that says a default where there is one to say, and only once."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = action.default in (None, False, []) or "default:" in (action.help or "")
        return action.help if told else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, whose help says the defaults, and that takes options anywhere."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=_Help)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse arguments, options and positional ones in any order: ``table5 --run DIR``, too."""
        parsed = self.parse_intermixed_args(args, namespace)
        for value in vars(parsed).values():
            for part in value if isinstance(value, list) else [value]:
                self._check_text(part)
        return parsed

    def _check_text(self, value: object) -> None:
        """Refuse what is no text, and what can be no file's name, so that no tool need ask."""
        shown = f"{str(value)[:_SHOWN]!r}"
        try:
            str(value).encode()
            if isinstance(value, Path):
                value.exists()
        except UnicodeEncodeError:
            self.error(f"{shown} is no text in UTF-8")
        except OSError as error:
            self.error(f"{shown} is no path ({str(error.strerror).lower()})")
        if isinstance(value, Path) and _CONTROL.search(str(value)):
            self.error(f"{shown} is taken for no path: it holds control characters, which would break messages")

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"error: {message}; --help lists the options\n")


def run(main: Callable[[], None]) -> None:
    """Run a tool; whatever goes wrong becomes one plain message and an exit status other than 0.

    A user's mistake has its own message and status. What nobody expected is named with its place; ``TRACEBACK=1`` in
    the environment shows where either comes from.
    """
    _open_streams()
    logging.raiseExceptions = False  # a full disk behind a log prints no traceback: what is written last says so
    try:
        with _interruptible():
            try:
                _check_environment()
                main()
            finally:
                while _announced:
                    _announced.pop().cancel()
                sys.stdout.flush()
    except UserError as error:
        _leave(f"{error.label}{error}", error.status)
    except KeyboardInterrupt:
        _leave("Interrupted.", 128 + signal.SIGINT)
    except BrokenPipeError:  # whoever read the output has closed it
        _leave("", 128 + signal.SIGPIPE)
    except OSError as error:
        _leave(f"error: {_describe_system(error)}", 1)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or _NO_MEMORY.search(str(error))):
            _leave(f"error: {describe(error)}", 1)
        _leave("error: There is not enough memory: take fewer images at once, or smaller ones.", 1)
    except Exception as error:  # the one place where what nobody expected becomes one line
        _leave(f"error: {describe(error)}", 1)


def _describe_system(error: OSError) -> str:
    if error.errno in _FULL:
        return f"{error.strerror}: what this wrote is not whole."
    if error.errno == errno.ENAMETOOLONG:
        return f"No file can have so long a name: {Path(str(error.filename)).name[:40]}... Give a shorter one."
    return describe(error)


def announce(text: str, *, aside: bool = True) -> None:
    """Have it said what a tool is at, if that takes more than a second, imports included.

    A tool calls it once its arguments are read; the process that writes says it.

    Args:
        text: what it is at.
        aside: on standard error, for standard output gets what programs or tables hold.
    """
    if os.environ.get("RANK", "0") == "0":
        stream = sys.stderr if aside else sys.stdout
        timer = threading.Timer(_QUIET, lambda: print(f"{text} ...", file=stream, flush=True))
        timer.daemon = True
        timer.start()
        _announced.append(timer)


def _check_environment() -> None:
    """Check what is read of the environment in many places, and that there is a current folder.

    Raises:
        UserError: a launcher's variable that is no number, or a folder that has been removed.
    """
    for name in _NUMBERS:
        if (value := os.environ.get(name)) and not (re.fullmatch(r"\d{1,9}", value) and int(value) <= _NUMBERS[name]):
            raise UserError(
                f"{name} in the environment: expected a whole number in 0..{_NUMBERS[name]}, found {value!r}."
            )
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(f"The current folder cannot be read ({error.strerror}): change to another one.") from error


def _open_streams() -> None:
    """Let every text be printed, and no file get the number of a standard stream that the caller has closed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for as long as the process lives
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of a terminal or a locale without the letter


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the process also while it imports, where Python may swallow a KeyboardInterrupt."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        while frame is not None:
            if frame.f_code.co_filename == _IMPORTING:
                _leave("Interrupted.", 128 + number)
            frame = frame.f_back
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _leave(message: str, status: int) -> None:
    """Print and end; data-loading processes and process groups must not keep a failed tool alive."""
    if os.environ.get("TRACEBACK"):
        traceback.print_exc()
    with contextlib.suppress(OSError):
        if message:
            print(message, file=sys.stderr)
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(status)


def whole_number(low: int, high: int = MOST) -> Callable[[str], int]:
    """Return the type of an argument that is a whole number in low..high."""

    def parse(text: str) -> int:
        if not (re.fullmatch(r"[+-]?\d{1,20}", text) and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"takes a whole number in {low}..{high}, found {text!r}")
        return int(text)

    return parse


# Of fewer draws the ends of a 95% interval are single ones; what more would add is far below the interval's own width.
resamples = whole_number(100, 100_000)


def names(text: str) -> list[str]:
    """Return the names of a list with commas; the type of an argument."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"takes names with commas between them, found {text!r}")
    return found


def pair(text: str) -> tuple[str, str]:
    """Return key and value of ``KEY=VALUE``; the type of an argument."""
    key, separator, value = text.partition("=")
    if not (separator and key.strip("-") and value):
        raise argparse.ArgumentTypeError(f"takes KEY=VALUE, found {text!r}")
    return key.lstrip("-"), value


def number(low: float, high: float) -> Callable[[str], float]:
    """Return the type of an argument that is a number in low..high."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"takes a number in {low:g}..{high:g}, found {text!r}")
        return value

    return parse


def parameters(text: str) -> float:
    """Return a number of parameters such as ``5M``; the type of an argument."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([kM])", text)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"takes a number of parameters such as 5M, 4.5M or 800k, found {text!r}")
    return float(found[1]) * {"k": 1e3, "M": 1e6}[found[2]]


def add_config_choices(parser: argparse.ArgumentParser) -> None:
    """Add the options that complete a template."""
    parser.add_argument("--backbone", metavar="NAME", help="of the catalogue, or timm:NAME (default: the config's)")
    parser.add_argument(
        "--dataset", metavar="NAME|DIR", help="of a template, or the folder of your own data (default: its own)"
    )


def add_config_changes(parser: argparse.ArgumentParser) -> None:
    """Add the options that change a config."""
    add_config_choices(parser)
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change the config"
    )
    parser.add_argument("--demo", action="store_true", help="generated data and a short schedule over any config")


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """Add the option for the place of the data."""
    parser.add_argument("--data-root", type=Path, help="folder of the data (default: DATA_ROOT, then the config's)")


def add_batch_size(parser: argparse.ArgumentParser) -> None:
    """Add the option for the images that a process takes at once."""
    parser.add_argument(
        "--batch-size", type=whole_number(1, 65_536), metavar="N", help="images per process (default: the config's)"
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add the options for the precision that a model runs in."""
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--slow-ok", action="store_true", help="take bf16 also on a CPU without instructions for it")


def config_parser(description: str, *, checkpoint: bool) -> Parser:
    """Return a parser with the options of every tool that runs a config."""
    parser = Parser(description)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a file of configs/")
    if checkpoint:
        parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    parser.add_argument("--work-dir", type=Path, help="folder of the run")
    add_config_changes(parser)
    add_data_root(parser)
    add_batch_size(parser)
    parser.add_argument(
        "--allow-partial", action="store_true", help="accept fewer images than the official ones; results say so"
    )
    add_precision(parser)
    parser.add_argument("--launcher", choices=("auto", "none", "pytorch", "slurm"), default="auto")
    parser.add_argument("--local-rank", type=int, help=argparse.SUPPRESS)
    return parser


def detector_evaluation_parser(description: str) -> Parser:
    """Return a parser with the options of the tools that evaluate a detector."""
    parser = config_parser(description, checkpoint=True)
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="save the detections in COCO's results format")
    parser.add_argument(
        "--pictures", type=whole_number(0), default=0, metavar="N", help="draw detections on N pictures"
    )
    parser.add_argument("--per-class", action="store_true", help="print and keep AP by class")
    _add_bootstrap(parser, 0)
    return parser


def add_classifier_reports(parser: argparse.ArgumentParser, *, resamples: int = 0) -> None:
    """Add the options for what an evaluation of a classifier says; ``resamples`` is the default of --bootstrap."""
    parser.add_argument("--confusion", type=Path, metavar="FILE.csv", help="save the confusion matrix, in images")
    parser.add_argument("--per-class", action="store_true", help="print and keep the accuracy by class")
    parser.add_argument(
        "--worst", type=whole_number(0), default=0, metavar="N", help="print the N classes with the lowest accuracy"
    )
    _add_bootstrap(parser, resamples)


def _add_bootstrap(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--bootstrap",
        type=resamples,
        default=default,
        metavar="N",
        help="95%% intervals from so many draws of the images",
    )


def add_training_part(parser: argparse.ArgumentParser) -> None:
    """Add the options for a part of the training pictures."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--fraction", type=number(1e-9, 1), metavar="F", help="train on this share of the pictures, stratified"
    )
    group.add_argument("--images", type=whole_number(1), metavar="N", help="train on so many pictures, stratified")


def pop_part(args: dict[str, Any]) -> dict[str, Any] | None:
    """Take the part of the training pictures out of parsed arguments, as ``benchmark.data.subsets`` has it."""
    part = {key: value for key in ("fraction", "images") if (value := args.pop(key)) is not None}
    return part or None


def pop_options(args: dict[str, Any]) -> Options:
    """Take the common options out of parsed arguments."""
    args.pop("local_rank", None)  # older launchers pass it; torchrun sets the environment
    names = [field.name for field in dataclasses.fields(Options) if field.name in args]
    return Options(**{name: args.pop(name) for name in names})
