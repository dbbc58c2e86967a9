"""How the tiny models of the demonstration are made (see train_tiny_clip.py and train_tiny_vlm.py)."""
