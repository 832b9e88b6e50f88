"""How a study stands, and what it is going to cost."""
