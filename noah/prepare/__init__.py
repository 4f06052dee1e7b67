"""How a run begins: settings to materials, and what it would take."""
