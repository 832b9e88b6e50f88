"""Who looks: pre-trained networks, their weights, and how a checkpoint becomes a network."""
