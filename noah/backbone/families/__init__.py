"""The families of timm's architectures that the method covers: one file each, with timm's private names."""
