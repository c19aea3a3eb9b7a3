"""Post-training quantisation: statistics of a layer's inputs, and weights that fit them."""
