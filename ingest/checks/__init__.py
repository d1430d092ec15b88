"""What is checked of a file that waits, from cheap to dear: all of it is hostile until then."""
