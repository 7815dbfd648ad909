"""Files of numbers and pictures: read, checked and mapped."""
