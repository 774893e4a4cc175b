"""Levers: each file of this folder is one."""
