"""A checkpoint in the formats of other runtimes: made, checked, evaluated, timed, and set side by side in one table."""
