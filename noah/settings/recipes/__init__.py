"""Shipped settings, one YAML file a recipe; `noah recipes` lists them."""
