"""The same recipe on verl and Ray."""
