"""Settling: convex pieces, one engine that lets things fall, another that has a second look."""
