// Owns the precompiled header of all libraries that use LibTorch.
