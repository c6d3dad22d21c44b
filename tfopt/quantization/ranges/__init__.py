"""A way in each file to make the range of an activation of what calibration saw."""
