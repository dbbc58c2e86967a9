"""How fast builds, loading and training steps are, beside other ways (README.md, RESULTS.md here)."""
