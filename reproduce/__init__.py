"""The papers' argument, run again on CIFAR-10; see `__main__`."""
