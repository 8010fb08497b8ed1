"""What scripts/report is made of: runs are read, put side by side, drawn, and written as one page."""
