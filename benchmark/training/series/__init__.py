"""A series: one recipe on several backbones and seeds, planned, timed, run one after another, and resumed."""
