"""Studies over many trainings or conditions: sweeps, costs, robustness."""
