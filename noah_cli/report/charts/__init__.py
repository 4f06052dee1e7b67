"""Figures of the report, drawn from facts."""
