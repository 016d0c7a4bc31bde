"""What runs leave behind, typed: results, latencies, and where they lie. Imports no torch."""
