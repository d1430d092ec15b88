"""What a store and the way to it do wrong, and whether the books still balance."""
