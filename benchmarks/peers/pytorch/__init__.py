"""The network in PyTorch, eager and through torch.compile."""
