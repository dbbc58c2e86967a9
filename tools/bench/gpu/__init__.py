"""A training step of published size on one device, by the trainer itself (`__main__`)."""
