"""Components shared by several intrinsic rewards."""
