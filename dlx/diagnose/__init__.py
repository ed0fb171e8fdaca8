"""What is looked at before a long training: the learning rate."""
