"""Film, picture and sound files in and out."""
