"""The HTTP service: a FastAPI application that recognises pictures for other programs."""
