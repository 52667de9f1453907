"""What goes with what: similar items and association rules."""
