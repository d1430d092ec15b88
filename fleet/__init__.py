"""Keys, releases and rollouts: who may run what."""
