"""One file a family: its specification as a table, its rows, its paper."""
