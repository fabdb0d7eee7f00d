"""Videos and cameras: frames, tracks, expressions over time, and the files made from them."""
