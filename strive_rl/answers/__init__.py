"""From a completion to its answer, and from the answer to its accuracy: shared by rewards and benchmarks."""
