"""Compare samplers on known evidence; find videos that two builds share."""
