"""Data sets: layouts, annotations, pictures, samples."""
