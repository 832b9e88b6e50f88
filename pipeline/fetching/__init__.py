"""Files from elsewhere: downloads and archives."""
