"""The rendered world of the demo: videos in which the evidence shows for a moment only."""
