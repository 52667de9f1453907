"""Customer lifetime value: how often customers will buy, for how much, and how sure that is."""
