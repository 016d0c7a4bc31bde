"""WHAT is compared: the catalogue of backbones. Importing it registers them with MMDetection as ``Backbone``."""

from backbones.catalogue import find_entry, list_backbones
from backbones.features import Backbone, build_network, feature_spec

__all__ = ["Backbone", "build_network", "feature_spec", "find_entry", "list_backbones"]
