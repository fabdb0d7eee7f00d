"""The generated blocks of the documentation, which tools/write_docs.py writes."""
