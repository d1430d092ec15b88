"""Batches and label files that mean harm, or that a broken device could send, by kind; and a fuzzer of good ones."""
