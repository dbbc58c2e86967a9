"""Six benchmarks and any annotation of the user's own, scored as their authors do.

One file a benchmark: the tags of its questions, its rules, its aggregation. Those files are pure;
`items` and `readers/` read files.
"""
