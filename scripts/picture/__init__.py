"""What scripts/pictures draws: a module for each picture, what they compute, and how SVG is written."""
