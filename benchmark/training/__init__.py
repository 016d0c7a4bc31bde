"""Training and evaluating a config."""
