"""Small models that a study trains itself, by self-supervised methods and controls."""
