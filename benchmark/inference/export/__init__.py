"""Other runtimes' files, one module per format, kept only if they find what PyTorch finds."""
