"""Generated parts of text files."""

import pytest

from backbones.errors import UserError
from benchmark.reporting.markers import marked, replace_between_markers

BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"


def test_only_what_stands_between_the_markers_changes(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(
        f"before é\n{BEGIN}\nold\n{END}\nafter\n<!-- other:begin -->\n<!-- other:end -->\n", encoding="utf-8"
    )
    for text in ("| new \\1 |\n", "| new \\1 |\n"):
        replace_between_markers(path, text, "table")
        expected = f"before é\n{BEGIN}\n| new \\1 |\n{END}\nafter\n<!-- other:begin -->\n<!-- other:end -->\n"
        assert path.read_text(encoding="utf-8") == expected


def test_a_marked_text_can_be_replaced(tmp_path):
    path = tmp_path / "table.md"
    path.write_text(marked("old", "table"))
    replace_between_markers(path, "new", "table")
    assert path.read_text() == f"{BEGIN}\nnew\n{END}\n"


@pytest.mark.parametrize("content", ["", BEGIN, END, f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n"])
def test_a_file_without_one_pair_of_markers_is_left_alone(tmp_path, content):
    path = tmp_path / "README.md"
    path.write_text(content)
    with pytest.raises(UserError, match=r"README\.md needs one line <!-- table:begin -->"):
        replace_between_markers(path, "new", "table")
    assert path.read_text() == content


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.md"):
        replace_between_markers(tmp_path / "absent.md", "new", "table")
