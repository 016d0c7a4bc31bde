"""Generated data sets: pictures of shapes, and class folders cut out of them."""
