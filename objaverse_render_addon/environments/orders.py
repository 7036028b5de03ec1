"""Bits of what is asked of a row: go on by a step, begin an episode, be drawn."""

ACT, BEGIN, DRAW = 1, 2, 4
