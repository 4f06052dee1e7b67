"""What the terminal shows: lines, progress bars, tables and errors."""
