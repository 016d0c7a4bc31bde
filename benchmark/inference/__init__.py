"""A trained detector at work: on pictures, and in other runtimes."""
