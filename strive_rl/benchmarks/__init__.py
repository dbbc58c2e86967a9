"""Six benchmarks and any annotation of the user's own, scored as their authors do.

One file a benchmark: what its questions are told apart by, its rules, its aggregation. Those files are pure;
`items` and `readers/` read files.
"""
