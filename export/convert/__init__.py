"""The merged network in other forms and precisions."""
