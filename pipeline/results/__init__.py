"""Every score of a study, its own and imported ones, as one table and one labelled cube."""
