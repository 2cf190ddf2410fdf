"""Stateless mathematics."""
