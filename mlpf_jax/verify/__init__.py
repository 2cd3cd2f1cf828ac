"""Verifies the network against golden data from the original graph."""
