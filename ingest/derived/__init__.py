"""What follows from the tables that are taken in: aggregates by the hour, the books, how labels come."""
