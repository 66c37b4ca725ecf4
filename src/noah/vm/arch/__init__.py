"""What engines must know of an architecture: register order, page tables, the trap. One module per architecture."""
