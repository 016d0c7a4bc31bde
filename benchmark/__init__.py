"""HOW backbones are compared: training, evaluation, cost, results and tables. Nothing here knows a command line."""
