"""What can go wrong, told apart by who can mend it."""


class StackaeError(Exception):
    """Something stopped the work; the message is one line that names cause and remedy."""


class ConfigError(StackaeError):
    """The configuration is at fault. One line per fault, all faults of a file at once."""


class DataError(StackaeError):
    """The data are missing, damaged, or do not fit the configuration."""


class NoRowsError(DataError):
    """A file of a table has no rows, which is no fault where others of the table have some."""


class ArtifactError(StackaeError):
    """A store entry, a model folder or a run folder is missing or damaged."""


class TrainingError(StackaeError):
    """Training cannot go on: the loss or a weight became NaN or infinite, or memory ran out."""


class StorageError(StackaeError):
    """The disk is full, or a folder cannot be written or has gone."""


class TrackingError(StackaeError):
    """Weights & Biases did not take what it was explicitly asked to."""


def in_a_line(fault: Exception | str) -> str:
    """Return the message of a fault, or a string, on one line of at most 200 characters."""
    return " ".join(str(fault).split())[:200]
