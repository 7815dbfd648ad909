"""Tables: files of cells, their columns, and what the cells mean."""
