"""The diagnosis of detectors for people: tables for the terminal, and one page with charts and pictures."""
