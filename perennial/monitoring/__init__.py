"""Drift of what the models see: pure functions of arrays and data frames."""

from perennial.monitoring.drift import feature_drift, psi, psi_by_chance

__all__ = ["feature_drift", "psi", "psi_by_chance"]
