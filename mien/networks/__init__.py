"""The networks: backbones, masks, decoder, and the table of all. Of mien they use nothing but its errors."""
