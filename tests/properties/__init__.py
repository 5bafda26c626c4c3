"""Laws of whole streams, found by random examples."""
