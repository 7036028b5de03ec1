"""Operators: they read settings, call a function and report."""
