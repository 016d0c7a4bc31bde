"""Other runtimes' files, one module a format, kept only if they find what PyTorch finds."""
