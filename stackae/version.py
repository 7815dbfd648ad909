"""The version, in a file that imports nothing, so that every floor can name it."""

VERSION = "0.1.0"
