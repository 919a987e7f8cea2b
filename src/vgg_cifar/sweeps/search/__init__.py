"""Sweeps that think of their next run: Optuna's studies over the runs of a sweep."""
