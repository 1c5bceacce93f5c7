"""Components shared by several auxiliary losses."""
