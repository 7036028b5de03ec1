"""Many assets: worker processes and the loop that feeds them."""
