"""The report: one HTML page, its figures and tables, and the summary."""
