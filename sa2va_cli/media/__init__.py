"""What is there to annotate, and its pixels: item, discover, listing, image, video."""
