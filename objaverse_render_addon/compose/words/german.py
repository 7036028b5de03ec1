def sentence(phrase, style, luck): return None
