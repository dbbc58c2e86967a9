"""A finished build → files that other trainers and evaluations read: one layout a tool."""
