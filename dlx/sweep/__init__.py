"""Searching over configs: proposals, cohorts of equal structure, results."""
