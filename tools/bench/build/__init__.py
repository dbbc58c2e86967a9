"""How fast a build is, beside the bare cost of its stages and beside a plain script (`__main__`)."""
