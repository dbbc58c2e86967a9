"""How fast a build is, beside the bare cost of its stages and beside other ways (README.md here)."""
