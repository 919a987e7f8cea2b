"""From a trained network to a file that other programs run, and the proof that it is the same network."""
