"""Generated parts of a text file, each between two markers: ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``."""

from pathlib import Path

from backbones.errors import UserError, describe
from benchmark.files.atomic import write_atomically


def marked(text: str, name: str) -> str:
    """Return a text between the markers of a name."""
    begin, end = _markers(name)
    return f"{begin}\n{text.strip()}\n{end}\n"


def replace_between_markers(path: Path, text: str, name: str) -> None:
    """Put a text between the markers of a name; everything outside them stays as it is.

    Raises:
        UserError: no such file, or not exactly one pair of markers in it.
    """
    if not path.is_file():
        raise UserError(f"File not found: {path}.")
    begin, end = _markers(name)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no text file that could be read ({describe(error)}): give another name.") from error
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise UserError(f"{path} needs one line {begin} and below it one line {end}: the text goes between them.")
    before, _, rest = content.partition(begin)
    after = rest.partition(end)[2].removeprefix("\n")
    changed = before + marked(text, name) + after
    write_atomically(path, lambda temporary: temporary.write_text(changed, encoding="utf-8"))


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
