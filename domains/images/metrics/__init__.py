"""What generated images are measured by."""
