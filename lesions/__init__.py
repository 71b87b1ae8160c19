"""What two stages or more share, one idea a file."""
