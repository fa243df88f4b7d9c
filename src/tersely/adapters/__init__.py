"""What connects us to other tools: readers of their files, and hooks into their trainers."""
