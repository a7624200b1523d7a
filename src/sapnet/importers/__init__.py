"""Points out of the files of annotation tools: one reader per format, one frame for all of them.

A reader (:data:`sapnet.importers.formats.FORMATS`) turns a file into
:class:`~sapnet.importers.records.Imported`: what the file says, in its own names and units.
:mod:`sapnet.importers.assemble` matches that with the images and makes the points file.
"""
