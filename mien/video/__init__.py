"""Videos and cameras: frames, tracked faces, their expressions over time, and output files."""
