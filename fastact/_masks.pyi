MASKS: tuple[str, ...]
