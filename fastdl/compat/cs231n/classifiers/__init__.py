"""The first assignment's classifiers, whose naive forms are loops in Python."""
