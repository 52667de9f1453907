"""What `benchmarks/scale.py` measures: shops, builds, the floor; and how it tells of them."""
