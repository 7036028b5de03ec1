"""Fields of 3D Gaussians, as trainers write them: read, drawn without a GPU, held against truth."""
