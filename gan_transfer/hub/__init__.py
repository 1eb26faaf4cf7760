"""Pairs on the Hugging Face Hub: publish, download, list; a pair is fetched by address in `models.remote`."""
