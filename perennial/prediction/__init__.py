"""What a shop's weeks ahead will bring."""
