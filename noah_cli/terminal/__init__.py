"""What the terminal shows, and how."""
