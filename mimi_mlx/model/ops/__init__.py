"""How this machine computes what the model asks for: CPU, Metal or CUDA."""
