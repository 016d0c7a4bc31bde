"""Which backbone to take, of the runs below some folders: ``write(decide(folders, constraints), out)``."""

from collections.abc import Sequence
from pathlib import Path

from backbones.errors import UserError
from benchmark.files.atomic import check_file, check_folder, make_folder, write_atomically
from benchmark.reporting.decision.choice import Constraints
from benchmark.reporting.decision.decision import Decision, decide, json_text
from benchmark.reporting.decision.text import markdown, plain_text
from benchmark.reporting.offline import check_installed

__all__ = ["Constraints", "Decision", "check_out", "decide", "plain_text", "write"]

NAME = "decision"
# How each file begins, which tells it from somebody's own of that name.
_BEGINS = {"html": "<!DOC", "txt": "", "md": "# ", "json": "{", "svg": "<svg", "png": ""}


def check_out(out: Path, folders: Sequence[Path]) -> None:
    """Check, before any work is done, that a decision can be written into a folder.

    Args:
        out: the folder: new, empty, of an earlier decision, or one of those with the runs.
        folders: with the runs.

    Raises:
        UserError: it cannot, or a package is missing.
    """
    check_installed()
    check_folder(out)
    known = out in folders or (out / f"{NAME}.json").is_file()
    if not known and out.is_dir() and any(out.iterdir()):
        raise UserError(f"Folder {out} holds other files and no {NAME}.json: give --out a new or an empty one.")
    for ending, begins in _BEGINS.items():
        check_file(out / f"{NAME}.{ending}", begins)


def write(decision: Decision, out: Path) -> Path:
    """Write a decision into a folder as a page, text, Markdown, JSON and pictures, and return the place of the page."""
    import vl_convert

    from benchmark.reporting.decision.charts import frontier_chart
    from benchmark.reporting.decision.page import page

    chart = frontier_chart(decision, page=False, width=860)
    svg = vl_convert.vegalite_to_svg(chart)
    texts = {
        "txt": plain_text(decision),
        "md": markdown(decision, f"{NAME}.svg"),
        "json": json_text(decision),
        "svg": svg,
        "html": page(decision, out),
    }
    make_folder(out)
    for ending, content in texts.items():
        _write(out / f"{NAME}.{ending}", content.encode())
    _write(out / f"{NAME}.png", vl_convert.svg_to_png(svg, scale=1.5))
    return out / f"{NAME}.html"


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
