"""What an artifact says about itself: manifest, metadata, model card."""
