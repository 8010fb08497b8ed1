"""Pictures of docs/how-it-works.md: what they show is computed by the rules that the page states."""
