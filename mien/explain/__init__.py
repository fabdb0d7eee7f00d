"""Where a network looked: masks and Grad-CAM over a face."""
