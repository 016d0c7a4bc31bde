"""The paper's tables as CSV, and how ours are compared with them."""
