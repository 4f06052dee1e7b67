"""What an accuracy is worth: scores, calibration, intervals and tests."""
