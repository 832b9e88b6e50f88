"""The variants of protocols: what each is, how records call it, and how a reader does."""
