"""The paper's tables as CSV, and how ours are set beside them."""
