"""The scoring rules of each benchmark, one file a benchmark."""
