"""`unjoin export`: rows as files for analysts and for training.

    command.py   the arguments, and which of the ways below is gone
    views.py     pure: what can be exported, as SQL, with the columns of the files
    days.py      pure: which days are closed, so that nothing of them changes any more
    labels.py    labels without what fewer than k votes say, slice by slice
    source.py    a statement -> a table of Arrow, of the embedded engine or of a server
    files.py     a Parquet or a CSV file, with notes of what is in it, put in place at once
    manifest.py  pure: what a folder holds, as JSON
    folder.py    a folder of files, a file some days, to which only whole closed days are added

A new data set gives `Folder.add` its days, its notes and a function that writes tables.
"""
