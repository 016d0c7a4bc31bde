"""Configs: read, overlaid, overridden, completed, identified."""
