"""Answers under a frame sampler, on shards and on benchmarks; scores and comparisons."""
