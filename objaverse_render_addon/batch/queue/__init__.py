"""What is to be rendered and what became of it: the ledger and what reads and fills it."""
