"""Greedy decoding with drafts: several tokens are guessed, and one pass of the whole model says which of them are right."""
