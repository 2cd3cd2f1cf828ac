"""The benchmark as a workload of HEPscore: copies side by side, their results summed."""
