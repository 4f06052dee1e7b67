"""The figures of the report, drawn from facts."""
