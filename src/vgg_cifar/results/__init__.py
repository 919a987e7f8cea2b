"""What is claimed of recipes: records of finished runs, their tables, and whether the same comes out again."""
