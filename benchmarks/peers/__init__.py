"""What the package is measured against: the usual ways of doing the same work, written plainly in PyTorch."""
