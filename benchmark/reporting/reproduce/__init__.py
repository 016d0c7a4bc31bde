"""A table of the paper cell by cell: what it prints, what is measured, whether they agree, and what measures the rest.

``render(read_state(number, folders))`` says how things stand; ``run_table`` measures what this machine can.
"""

from benchmark.reporting.reproduce.cells import Cell, Ratio, State, Verdict
from benchmark.reporting.reproduce.run import run_table
from benchmark.reporting.reproduce.state import read_state
from benchmark.reporting.reproduce.text import render, state_json, summary

__all__ = ["Cell", "Ratio", "State", "Verdict", "read_state", "render", "run_table", "state_json", "summary"]
