"""Evaluation of networks: predictions, metrics, figures, comparisons and tables of results."""
