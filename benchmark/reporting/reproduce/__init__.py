"""A table of the paper cell by cell: what it prints, what is measured, whether they agree, and what measures the rest.

``render(read_state(number, folders))`` says how things stand; ``run_table`` measures what this machine can.
"""

from benchmark.records.verdicts import Verdict
from benchmark.reporting.reproduce.cells import Cell, Ratio, State
from benchmark.reporting.reproduce.experiments import experiments_json, read_experiments, render_experiments
from benchmark.reporting.reproduce.log import append_lines, artefact_line, check_log, table_line
from benchmark.reporting.reproduce.run import run_table
from benchmark.reporting.reproduce.state import read_state
from benchmark.reporting.reproduce.text import render, state_json, summary

__all__ = [
    "Cell",
    "Ratio",
    "State",
    "Verdict",
    "append_lines",
    "artefact_line",
    "check_log",
    "experiments_json",
    "read_experiments",
    "read_state",
    "render",
    "render_experiments",
    "run_table",
    "state_json",
    "summary",
    "table_line",
]
