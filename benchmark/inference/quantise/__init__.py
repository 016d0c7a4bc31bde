"""INT8 files: calibrated on training pictures, kept if they lose little, else with the costly layers in float."""
