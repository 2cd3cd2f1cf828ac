"""The bandwidth of an all-reduce over the devices of one or several processes."""
