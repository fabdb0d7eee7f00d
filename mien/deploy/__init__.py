"""Trained networks on their way out of the house."""
