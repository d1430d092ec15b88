"""Keeping the lake in order: small files joined, old versions removed, retention, forgetting, and how healthy it is."""
