"""From a picture to the expression on each face in it, without torch."""
