"""A detector on pictures of the user's own: detections drawn, and written in COCO's results format."""
