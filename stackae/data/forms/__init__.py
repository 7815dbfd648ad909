"""The forms of data, one file each."""
