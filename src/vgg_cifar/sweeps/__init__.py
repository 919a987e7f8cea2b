"""Many runs: which ones, where, by how many at a time, and what became of them."""
