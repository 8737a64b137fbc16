"""Networks of many widths in one: their weights are shared, and a width of every group says which of them compute."""
