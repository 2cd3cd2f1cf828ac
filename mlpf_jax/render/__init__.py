"""How results are shown as text: tables, and whatever came from a file made harmless."""
