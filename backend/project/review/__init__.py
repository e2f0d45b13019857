"""What became of the boxes that annotators were shown, and what the cycles of a project gave."""
