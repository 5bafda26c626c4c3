"""Checks of the whole package."""
