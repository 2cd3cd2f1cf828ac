"""How speed, compile time and memory grow along one axis of the workload."""
