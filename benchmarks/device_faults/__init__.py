"""Devices killed with -9 at random instants, again and again, and then the books: what was lost, doubled, or not signed."""
