"""Recognition of the faces in pictures."""
