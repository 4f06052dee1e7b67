"""How a run begins: from settings to materials, and a forecast of what the run would take."""
