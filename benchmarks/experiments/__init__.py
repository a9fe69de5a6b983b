"""Studies behind the pages in docs/, one command each."""
