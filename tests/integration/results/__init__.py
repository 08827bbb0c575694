"""Results of epochs: what they are over, and which epoch is the best."""
