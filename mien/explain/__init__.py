"""Explanations of predictions: masks and Grad-CAM over faces."""
