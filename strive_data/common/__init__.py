"""What every stage uses: settings, files, storage, text, processes."""
