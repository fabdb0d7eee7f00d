"""From a network and labelled faces to predictions, and from predictions to every number and figure."""
