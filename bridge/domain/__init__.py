"""What is true on paper, with no machine running. Standard library only."""
