"""The networks: backbones, masks, decoder, and the table of all of them. Torch only, and nothing else of mien."""
