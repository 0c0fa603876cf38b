"""What several of the test packages share."""
