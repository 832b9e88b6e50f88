"""What the scores say: which model, which protocol can be trusted, and with what certainty."""
