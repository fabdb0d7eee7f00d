"""The networks: backbones, masks, decoder, and the table of all. Torch only; of mien nothing but its errors."""
