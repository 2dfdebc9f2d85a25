"""Frames between two machines, over UDP."""
