"""WHAT is compared: the catalogue of backbones, and what builds them. Imports nothing of benchmark/."""
