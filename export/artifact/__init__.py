"""What an artifact says of itself: manifest, metadata, model card."""
