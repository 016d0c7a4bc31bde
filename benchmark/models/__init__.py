"""Detectors and classifiers around a backbone."""
