"""Artefacts: read back as they were written, listed beside the tables, and logged."""

import json

import pytest

from backbones.errors import UserError
from benchmark.experiments.artefact import read_artefact
from benchmark.experiments.drawing import caption_of, draw_series, new_figure, save_figure
from benchmark.reporting.reproduce.log import BEGINS, append_lines, artefact_line


def test_an_artefact_is_read_as_it_was_written(artefact, tmp_path):
    made = artefact()
    assert read_artefact(made.write(tmp_path)) == made
    assert json.loads(made.json_text()) == made.model_dump(mode="json")


@pytest.mark.parametrize(
    ("text", "words"), [("{", "EOF"), ("{}", "experiment"), ('{"experiment": 3}', "experiment: Input should be")]
)
def test_what_is_no_artefact_is_named(tmp_path, text, words):
    (tmp_path / "artefact.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_artefact(tmp_path / "artefact.json")


def test_a_figure_says_on_its_face_what_was_measured_how_often_and_where(artefact, tmp_path):
    made = artefact(
        series=[{"group": "g", "name": "s", "x": [1, 2], "y": [2, 3], "low": [1, 2], "high": [3, 4], "n": 3}]
    )

    def draw(made):
        figure, axes = new_figure(1, 1)
        draw_series(axes[0], made.panel("g"))
        return figure

    save_figure(draw, made, tmp_path / "figure")
    text = (tmp_path / "figure.svg").read_text()
    for words in ("Rank", "Nothing was measured.", "Seeds 0", "Abacus, 2 cores", "cccccccccc", "2026-01-02"):
        assert words in caption_of(made) or words == "Rank"
        assert words in text
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_line_of_the_record_counts_the_verdicts(artefact, tmp_path):
    line = artefact_line(artefact(small_data=True))
    assert line == ("| 2026-01-02 | cccccccccc | Abacus, 2 cores | experiment rank, small data | 1 | 1 | 2 | 1 |")
    for _ in range(2):
        append_lines(tmp_path / "log.md", [line])
    text = (tmp_path / "log.md").read_text()
    assert text.startswith(BEGINS) and text.endswith(f"|\n{line}\n{line}\n")


def test_nothing_is_appended_to_another_file(artefact, tmp_path):
    (tmp_path / "mine.md").write_text("mine")
    with pytest.raises(UserError, match="another kind"):
        append_lines(tmp_path / "mine.md", ["x"])
    assert (tmp_path / "mine.md").read_text() == "mine"


def test_experiments_are_listed_beside_the_tables_and_logged(artefact, tmp_path, reproduce_tool, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "bad").mkdir()
    artefact().write(tmp_path / "a")
    (tmp_path / "bad" / "artefact.json").write_text("{")
    assert reproduce_tool("experiments", tmp_path, "--log", tmp_path / "log.md") == 0
    printed = capsys.readouterr()
    assert "It is." in printed.out and "disagrees" in printed.out
    assert "skipped: " in printed.err and "bad" in printed.err
    assert "experiment rank | 1 | 1 | 2 | 1 |" in (tmp_path / "log.md").read_text()
    assert reproduce_tool("experiments", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["claims"][2]["verdict"] == "disagrees"


def test_options_of_a_table_are_refused_for_experiments(tmp_path, reproduce_tool, capsys):
    assert reproduce_tool("experiments", tmp_path, "--run") == 2
    assert "belong to a table" in capsys.readouterr().err
