"""From folders of runs to leaderboards: ``render(make_report(find_runs(folders)), format)``."""

from pathlib import Path

from benchmark.files.atomic import check_file, make_folder, write_atomically
from benchmark.records.runs import Found, find_runs
from benchmark.reporting.leaderboard.tables import Report, make_report
from benchmark.reporting.leaderboard.text import TEXT_FORMATS
from benchmark.reporting.markers import marked, replace_between_markers

__all__ = ["FORMATS", "Found", "Report", "find_runs", "make_report", "render", "write"]

FORMATS = (*TEXT_FORMATS, "html")
MARKER = "leaderboard"
_TELLING = 5  # letters at the beginning of a file that tell its format


def render(report: Report, format: str = "markdown", place: Path = Path()) -> str:
    """Return a report in one of ``FORMATS``.

    Args:
        report: see ``make_report``.
        format: of the text.
        place: folder that the text will lie in, for the page's links to runs.
    """
    if format != "html":
        return TEXT_FORMATS[format](report)
    from benchmark.reporting.leaderboard.page import page

    return page(report, place)


def write(report: Report, format: str, path: Path) -> None:
    """Write a report into a file; in Markdown only what stands between the markers of an existing file changes.

    Raises:
        UserError: an existing Markdown file without the markers, or a file that cannot be written.
    """
    text = render(report, format, path.parent)
    if format == "markdown":
        if path.exists():
            return replace_between_markers(path, text, MARKER)
        text = marked(text, MARKER)
    check_file(path, begins=text[:_TELLING])
    make_folder(path.parent)
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
