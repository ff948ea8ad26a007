"""What class files and scripts of the original engines import: one module for each of the two dialects."""
