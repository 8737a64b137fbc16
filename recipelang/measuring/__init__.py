"""Measuring: clocks, accuracies with intervals, differences beyond noise, what the machine can do."""
