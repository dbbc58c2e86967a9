"""A model on a benchmark's videos: `strive-rl eval --benchmark`.

plan     the questions, cut into the batches that are answered together, pure
ledger   what is answered and what failed so far, on disk; how a killed evaluation goes on
frames   the settings of a build that give the frames
answers  batches → lines of predictions.jsonl
columns  predictions → one scored folder a frame sampler, and the gains between them
run      the order
show     what is printed
"""
