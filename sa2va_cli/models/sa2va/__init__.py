"""Sa2VA: InternViT and Qwen2 see and speak, SAM 2 draws what the [SEG] tokens mean."""
