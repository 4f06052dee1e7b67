"""`noah report`: turns a run folder into facts, figures and one HTML page."""
