"""Training half of STRIVE: dual-grouped GRPO for video language models."""
