"""Batches and labels into the lake, exactly once; aggregates, completeness and drift."""
