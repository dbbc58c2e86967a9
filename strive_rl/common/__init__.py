"""What every stage uses: processes, files, progress, trackers, statistics."""
