"""Benchmarks, and any annotation of the user's own, scored as their authors do.

`rules/` has a file for each kind of answer: the tags of the questions, the rules, the aggregation. `items`,
`formats`, `predictions` and `judgements` read files.
"""
