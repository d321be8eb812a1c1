"""A message becomes an answer, once."""
