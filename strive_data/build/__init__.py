"""A build: made, continued, verified, joined with others, and read from Python."""
