"""Videos that know their frames: each frame carries its number as a bar code in its pixels."""
