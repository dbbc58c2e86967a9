"""A training step and its update beside other trainers (`__main__`)."""
