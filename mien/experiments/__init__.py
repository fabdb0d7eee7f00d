"""Studies over many trainings or conditions: sweeps, costs and robustness."""
