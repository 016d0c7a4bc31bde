"""Importing this registers everything: configs name it in ``custom_imports`` for MMDetection's own clients."""

from benchmark.training.registration import register

register()
