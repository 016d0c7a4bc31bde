"""The experiments behind the documents' arguments, run again and judged claim by claim."""
