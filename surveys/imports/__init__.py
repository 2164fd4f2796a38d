"""Files of old ratings: what a file is, how it is read, and which of its forms can be taken over.

Pure rules on bytes and plain values. What is stored is decided by `surveys.services.import_rows`, which asks
the database what stands there already.
"""
