"""What is looked at: data sets of images, where they lie, and the index of each."""
