"""What watches a run; one file each, one sentence each."""
