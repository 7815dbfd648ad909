"""The machine a run is on: its signals, memory, hardware and disk."""
