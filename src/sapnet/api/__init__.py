"""The Python interface: the verbs of the command line as functions that take and return objects.

``import sapnet`` gives all of it; the modules here are imported on first use. The functions call the
same ``sapnet.pipeline`` functions as the command line, so the files they write are the same bytes.
"""
