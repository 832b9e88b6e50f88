"""What every room knows of the project: its names, its paths, what a mapping of params.yaml is."""
