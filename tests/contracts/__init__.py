"""Laws that every registered member obeys."""
