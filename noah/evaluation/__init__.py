"""How far to trust an accuracy: scores, calibration, intervals and tests."""
