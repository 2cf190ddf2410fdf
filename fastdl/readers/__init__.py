"""Weights in the files of other frameworks.

A reader opens a file, reads arrays and nothing else, and says which of a model's weights each of them is, in
the layout that the layer keeps it in.
"""
