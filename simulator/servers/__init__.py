"""Protocol servers that show a simulated plant."""
