"""The networks that metrics look through, each with all that identifies its features."""
