"""Several requests of greedy decoding on one model: one after the other, in padded batches, or in slots of one batch."""
