"""How far what devices see has moved from what a release was trained on, and what of that is no chance."""
