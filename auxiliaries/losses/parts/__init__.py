"""What several auxiliary losses share."""
