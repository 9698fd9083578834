"""Text and tables; no number is born here."""
