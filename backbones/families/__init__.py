"""One file per family: its specification as a table, its rows, its paper."""
