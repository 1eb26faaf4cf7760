"""The latent explorer: a folder with a page in which a generator runs in the browser."""
