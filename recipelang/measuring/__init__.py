"""Measuring: clocks, accuracies with intervals, differences that are more than noise, what the machine can do."""
