"""`noah report`: what a run folder holds, as facts, as figures and as one page of HTML."""
