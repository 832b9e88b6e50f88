"""The classifier that is taken home: a head and its backbone in a folder that needs no project."""
