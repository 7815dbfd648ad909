"""From a source of examples to the rows each stage trains on."""
